"""Waiting for permits of many queues on RabbitMQ: one channel with a consumer for each."""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from typing import TYPE_CHECKING, Any

from stratix_kombu import forks
from stratix_kombu.drivers.contract import Delivery, Watcher
from stratix_kombu.drivers.rabbitmq.link import RabbitMQLink
from stratix_kombu.drivers.rabbitmq.undecided import Undecided

if TYPE_CHECKING:
    from stratix_kombu.drivers.rabbitmq.driver import RabbitMQDriver

PAGE = 100
"""So many queues are made before their answer is awaited: what takes longer than ``command_timeout`` would fail."""
MOST_CHANNELS = 4


class RabbitMQWatcher(Watcher):
    """Of each queue it holds one message at most. Its bell is a pair of sockets."""

    def __init__(self, driver: RabbitMQDriver, patience: float) -> None:
        self.patience = patience
        self._driver = driver
        self._link: RabbitMQLink | None = None
        self._queues: dict[str, str] = {}
        """Those that it consumes, by the tags of their consumers."""
        self._tags: dict[str, str] = {}
        """Those tags, by queue."""
        self._last_tag = 0
        self._found: deque[tuple[str, Delivery]] = deque()
        self._errors = driver.errors()
        self._rings, self._bell = socket.socketpair()
        self._bell.setblocking(False)
        self._rings.setblocking(False)
        forks.register(self)

    def after_fork(self) -> None:
        """The connection and the bell are the parent's."""
        self._link = None
        forks.close_copy(self._rings)
        forks.close_copy(self._bell)
        self._rings, self._bell = socket.socketpair()

    def wait(self, queues: Sequence[str], timeout: float) -> tuple[str, list[Delivery]] | None:
        end = time.monotonic() + timeout
        try:
            link = self._link or self._open()
            self._consume(queues)
            link.connection.heartbeat_check()
            with selectors.DefaultSelector() as selector:
                for one in (link.socket, self._bell):
                    selector.register(one, selectors.EVENT_READ)
                while True:
                    link.look()
                    if found := self._next():
                        return found
                    if self._has_rung() or (left := end - time.monotonic()) <= 0:
                        return None
                    selector.select(left)
        except self._errors as problem:
            self._drop(problem)
            for queue in queues:
                self._driver.forget(queue)  # one may have been deleted
            raise self._driver.unavailable(problem) from problem

    def _open(self) -> RabbitMQLink:
        link = self._link = self._driver.link()
        self._undecided = Undecided(link.channel)
        self._queues, self._tags = {}, {}
        self._found.clear()
        link.channel.basic_qos(0, 1, False)
        return link

    def _consume(self, queues: Sequence[str]) -> None:
        """Have these queues consumed, and no others."""
        for queue in self._tags.keys() - set(queues):
            self._cancel(queue)
        new = [queue for queue in queues if queue not in self._tags]
        self._driver.declare_all(new)
        for queue in new:
            # A quorum queue takes one consumer of the same tag after the other for the same one.
            self._last_tag += 1
            tag = self._tags[queue] = str(self._last_tag)
            self._queues[tag] = queue
            name = self._driver.queue_entity(queue).name
            self._undecided.channel.basic_consume(name, consumer_tag=tag, callback=self._on_message, nowait=True)

    def _cancel(self, queue: str) -> None:
        tag = self._tags.pop(queue)
        del self._queues[tag]
        self._undecided.channel.basic_cancel(tag)

    def _on_message(self, message: Any) -> None:
        self._found.append((message.delivery_info["consumer_tag"], self._undecided.delivery(message)))

    def _next(self) -> tuple[str, list[Delivery]] | None:
        """A queue that has a message is consumed no longer, unless it is waited for again."""
        while self._found:
            tag, delivery = self._found.popleft()
            queue = self._queues.get(tag)
            if queue is not None:
                self._cancel(queue)
                return queue, [delivery]
            self._undecided.reject(delivery.handle.tag, requeue=True)  # it was on its way when that was cancelled
        return None

    def _has_rung(self) -> bool:
        with suppress(BlockingIOError):
            return bool(self._bell.recv(4096))
        return False

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        try:
            for delivery in deliveries:
                delivery.handle.of.reject(delivery.handle.tag, requeue=True)
        except self._errors as problem:
            raise self._driver.unavailable(problem) from problem

    def interrupt(self) -> None:
        with suppress(OSError):  # it has rung often enough, or is closed
            self._rings.send(b"!")

    def close(self) -> None:
        self._drop()
        self._rings.close()
        self._bell.close()

    def _drop(self, problem: BaseException | None = None) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close(problem)


def declare_many(link: Any, entities: Sequence[Any]) -> None:
    """Make queues exist without waiting for each. Raises what the channel raises of which one was refused.

    The broker makes the queues of one channel one by one, and those of several channels in a fifth of the time.
    """
    more = [link.connection.channel() for _ in range(min(len(entities) // PAGE, MOST_CHANNELS - 1))]
    channels = (link.channel, *more)
    for start in range(0, len(entities), PAGE):
        for entity, channel in zip(entities[start : start + PAGE], cycle(channels), strict=False):
            entity(channel).declare(nowait=True)
        for channel in channels:
            channel.basic_qos(0, 0, False)  # its answer comes after all of it
    for channel in more:
        channel.close()
