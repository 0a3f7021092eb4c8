"""The user's own events: emitted by any process of a namespace, received by all of them in one order."""

from __future__ import annotations

from typing import Any

from stratix_kombu.config.options import snake
from stratix_kombu.errors import ConfigurationError, InvalidPayload, PayloadTooLarge
from stratix_kombu.model.codec import decode, encode
from stratix_kombu.model.event import BUILT_IN, INLINE_RESULT_BYTES, USER_LOG, Event
from stratix_kombu.model.names import check_event_name
from stratix_kombu.queue.listeners import Listeners
from stratix_kombu.stores.contract import EventLog


class UserEvents(Listeners):
    """The log of a namespace's own events."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(log, USER_LOG, "app.queue")

    def emit(self, name: str, data: tuple[Any, ...]) -> None:
        self._open()
        what = f"the data of event {name!r}"
        text = encode(list(data), what)
        if (size := len(text.encode())) > INLINE_RESULT_BYTES:
            raise PayloadTooLarge(what, size, INLINE_RESULT_BYTES, "store it elsewhere and pass a reference")
        self._log.append(USER_LOG, self.event_name(name), value=text)

    def event_name(self, given: str) -> str:
        if snake(check_event_name(given)) in BUILT_IN:
            raise ConfigurationError(
                f"app.queue: {given!r} is an event of queues: listen with queue.on({given!r}, ...), and "
                "give your own events other names"
            )
        return given

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            try:
                self._pass_on(event.name, tuple(decode(event.value)))
            except (InvalidPayload, TypeError) as problem:
                self._skip(event, problem)
