"""Messages on Redis that a Celery worker takes together.

Kombu asks Redis for one message, hands it on, and asks again: with each, the event loop waits for an answer, and takes
turns with the threads that run tasks. While many messages wait, they are asked for by ``LMPOP``, as many as the
worker's prefetch count has room for and at most ``MOST``. That command never blocks, so no worker gets several of the
messages that others are idle for. A worker that gets none waits for one again, as Kombu does. One that has many more
than it can run at once waits a moment for room for several, instead of asking for one with each task that begins.

Private in Kombu: ``_brpop_start`` of a channel sends a command whose answer ``_brpop_read`` reads and delivers; it is
called as the channel's handler ``BRPOP``. ``_in_poll`` says that an answer is to come."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty
from time import monotonic
from typing import Any

from celery import bootsteps
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from stratix_kombu.celery.bridge import bridge_of

logger = logging.getLogger("stratix_kombu.celery")

MOST = 16
"""How many messages are asked for at once, at most. It is doubled from one on, so that a few messages are shared with
other workers as they were."""
SELDOM = 16
"""Where the second message is never there, it is asked for with each 16th."""
REST_S = 0.005
"""How long a worker waits for room for several, at most."""
_TYPED = (b"__type__", b"\\u005")
"""A message without either has no value of one of Kombu's own types; the second is how JSON may escape ``_``."""
_LACKING = ("unknown command", "no permission")
"""In the answer of a server that has no ``LMPOP`` for us: it came with Redis 7."""


class ReceivingStep(bootsteps.StartStopStep):
    """Started with each connection of a worker, before it consumes."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        if bridge_of(consumer.app) is not None and consumer.connection.transport.driver_type == "redis":
            take_together(consumer.task_consumer.channel, _rest_of(consumer) if consumer.hub else None)


@dataclass(frozen=True)
class Rest:
    """How a worker waits for room."""

    spare: Callable[[], int]
    """How many messages it may hold beyond those that it runs."""
    call_later: Callable[[float, Callable[[], None]], Any]
    """Has the event loop call something, in so many seconds, and go round."""


def _rest_of(consumer: Any) -> Rest:
    return Rest(lambda: consumer.initial_prefetch_count - consumer.pool.num_processes, consumer.hub.call_later)


def take_together(channel: Any, rest: Rest | None = None) -> None:
    """Have a channel of Kombu's Redis transport take messages together, unless it emulates acknowledgements: then it
    notes each message by itself."""
    if not channel.ack_emulation and not isinstance(channel, _Together):
        base: type[Any] = type(channel)
        channel.__class__ = type(base.__name__, (_Together, base), {"__module__": base.__module__})
        channel.handlers["BRPOP"] = channel._brpop_read
        channel._rest = rest


class _Together:
    """In front of a channel's class."""

    _asked = 1
    """For how many messages the last command has asked."""
    _next = 1
    """For how many the next one may ask."""
    _single = 0
    """How many messages are taken one by one before it is seen whether there are more."""
    _in_vain = 0
    """The same after the next time that there are none."""
    _is_known = True
    """Whether the server has ``LMPOP`` for us."""
    _rest: Rest | None = None
    _rests = False
    """Whether room for several may be waited for: until ``_rested`` is called."""

    def _brpop_start(self: Any, timeout: float | None = None) -> None:
        queues = self._queue_cycle.consume(len(self.active_queues))
        if self._rests and _room(self.qos) < self._several(len(queues)):
            return  # Kombu calls it again with each round of the event loop
        self._asked = min(self._next, _room(self.qos) // max(len(queues), 1))
        if self._asked < 2:
            super()._brpop_start(timeout)  # type: ignore[misc]
            return
        keys = [
            f"{self.global_keyprefix}{self._q_for_pri(queue, step)}" for step in self.priority_steps for queue in queues
        ]
        self._in_poll, self._brpop_sent_at = self.client.connection, monotonic()
        self.client.connection.send_command("LMPOP", len(keys), *keys, "RIGHT", "COUNT", self._asked)

    def _several(self: Any, queues: int) -> int:
        """The room that is waited for: for no more than there may be messages, and half of what is held beyond what
        runs."""
        if self._rest is None or "can_consume" in vars(self.qos):
            return 0
        each = min(self._next, self._rest.spare() // 2 // max(queues, 1))
        return int(each * queues) if each > 1 else 0

    def _expect_more(self) -> None:
        """After an answer: the event loop hears of it before it waits for what comes next."""
        if self._rest is not None and self._next > 1 and not self._rests:
            self._rests = True
            self._rest.call_later(REST_S, self._rested)

    def _rested(self) -> None:
        self._rests = False

    def _brpop_read(self: Any, **options: Any) -> Any:
        if self._asked < 2:
            found = super()._brpop_read(**options)  # type: ignore[misc]
            self._single -= 1
            if self._is_known and self._single < 0:
                self._next = max(self._next, 2)
                self._expect_more()
            return found
        try:
            key, messages = self._answer(options)
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        self._next = min(2 * self._asked, MOST) if len(messages) == self._asked else 1
        self._single = self._in_vain = 0
        self._expect_more()
        queue = key.rsplit(self.sep, 1)[0]
        self._queue_cycle.rotate(queue)
        try:
            while messages:
                self.connection._deliver(_read(messages.pop(0)), queue)
        finally:
            self._put_back(key, messages)
        return True

    def _answer(self: Any, options: dict[str, Any]) -> tuple[str, list[bytes]]:
        """The key of the list, without the prefix of all keys, and the messages. Raises Empty if there are none."""
        client = self.client
        self._next = 1
        try:
            answer = client.parse_response(client.connection, "LMPOP", **options)
        except self.connection_errors:
            client.connection.disconnect()
            raise
        except self.ResponseError as problem:
            if not any(one in str(problem).lower() for one in _LACKING):
                raise
            self._is_known = False
            raise Empty() from problem
        if not answer:
            self._in_vain = min(2 * self._in_vain + 1, SELDOM)
            self._single = self._in_vain
            raise Empty()
        key, messages = answer
        return bytes_to_str(key)[len(self.global_keyprefix or "") :], list(messages)

    def _put_back(self: Any, key: str, messages: list[bytes]) -> None:
        """Those that an error, or the worker's end, has kept from being delivered: where they would be taken next."""
        if messages:
            with suppress(*self.connection_errors), self.conn_or_acquire() as client:
                client.rpush(key, *reversed(messages))


def _read(message: bytes) -> Any:
    """What Kombu reads of it. Its hook for values of its own types, which few messages have, is called for each object
    in it: that takes more time than the rest."""
    text = bytes_to_str(message)
    return loads(text) if any(one in message for one in _TYPED) else json.loads(text)


def _room(qos: Any) -> int:
    """How many messages may be taken now. ``worker_disable_prefetch`` decides after each one."""
    if "can_consume" in vars(qos):
        return 1
    return int(qos.can_consume_max_estimate()) if qos.prefetch_count else MOST
