"""Messages of what a step makes ready, where a host takes messages of the queue out of this store: the step puts them
there itself, so that none is lost, and whichever process makes it has to know of no host."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from stratix_kombu.model.message import message_envelope
from stratix_kombu.model.record import Ready

if TYPE_CHECKING:
    from stratix_kombu.stores.sql.space import SqlSpace

INSERT = "INSERT INTO messages (queue, priority, expires_ms, body) VALUES (?, ?, ?, ?)"


def letter(job: Ready) -> tuple[Any, ...]:
    """The row of its message: the job's own, or a permit, whose id may be that of no job."""
    permit = job.id or str(uuid.uuid4())
    envelope = json.loads(job.message) if job.message else message_envelope(permit, job.name, job.queue)
    properties = envelope["properties"]
    properties["delivery_tag"] = str(uuid.uuid4())
    priority = properties.get("priority") or 0
    return job.queue, min(max(int(priority), 0), 9), None, json.dumps(envelope)


class Outgoing(list[Ready]):
    """What a step makes ready. What it puts into the mail is not in it."""

    def __init__(self, space: SqlSpace) -> None:
        super().__init__()
        self._space = space
        self._mailed: list[Ready] = []

    def append(self, job: Ready) -> None:
        if not job.forward and self._space.queues[job.queue].served_ms > self._space.now():
            self._mailed.append(job)
        else:
            super().append(job)

    def extend(self, jobs: Iterable[Ready]) -> None:
        for job in jobs:
            self.append(job)

    @property
    def number(self) -> int:
        """Of this transaction, with what is in the mail."""
        return len(self) + len(self._mailed)

    def begin(self) -> None:
        self.clear()
        self._mailed.clear()

    def flush(self) -> None:
        """Write what is in the mail."""
        if self._mailed:
            self._space.db.many(INSERT, map(letter, self._mailed))
            self._mailed.clear()
