"""What was delivered over one channel and is neither acknowledged nor rejected."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stratix_kombu import forks
from stratix_kombu.drivers.contract import Delivery
from stratix_kombu.model.message import OtherMessage, read_headers


@dataclass(frozen=True, slots=True, eq=False)
class Handle:
    """Names one message of a channel."""

    of: Undecided
    tag: int


class Undecided:
    """Of one channel. Another thread may decide than the one that receives: py-amqp writes whole frames."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self._lock = threading.Lock()
        self._tags: dict[int, None] = {}
        """In the order in which they came."""
        forks.register(self)

    def after_fork(self) -> None:
        """The channel is the parent's."""
        self._lock = threading.Lock()

    def delivery(self, message: Any, tasks: bool = False) -> Delivery:
        """One that has come; with ``tasks`` it may be that of a task."""
        job_id, problem = read_headers(message.properties.get("application_headers"))
        other = _other_message(message) if tasks and job_id is None else None
        return self.permit(message.delivery_info["delivery_tag"], job_id, problem, other)

    def permit(self, tag: int, job_id: str | None, problem: str = "", other: OtherMessage | None = None) -> Delivery:
        with self._lock:
            self._tags[tag] = None
        return Delivery(job_id, Handle(self, tag), problem, other)

    def acknowledge(self, tags: Iterable[int]) -> None:
        """All of them by one word, as far as nothing that came before is undecided."""
        with self._lock:
            left = {tag for tag in tags if tag in self._tags}
            newest = 0
            for tag in self._tags:
                if tag not in left:
                    break
                newest = tag
            for tag in left:
                del self._tags[tag]
            if newest:
                self.channel.basic_ack(newest, multiple=True)
            for tag in sorted(left):
                if tag > newest:
                    self.channel.basic_ack(tag)

    def reject(self, tag: int, requeue: bool) -> None:
        """Back to the queue, or to the queue's dead letters if it has them."""
        with self._lock:
            if tag in self._tags:
                del self._tags[tag]
                self.channel.basic_reject(tag, requeue)


def _other_message(message: Any) -> OtherMessage:
    """The parts of a message of py-amqp."""
    properties = {**message.properties, "delivery_info": message.delivery_info}
    headers = properties.pop("application_headers", None)
    kind, encoding = str(properties.get("content_type")), str(properties.get("content_encoding"))
    return OtherMessage(headers, properties, message.body, kind, encoding)
