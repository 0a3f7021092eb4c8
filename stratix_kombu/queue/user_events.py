"""The user's own events: written by any process of a namespace, heard by all of them in one order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from stratix_kombu.config.options import snake
from stratix_kombu.errors import ConfigurationError, InvalidPayload, PayloadTooLarge
from stratix_kombu.model.codec import decode, encode
from stratix_kombu.model.event import BUILT_IN, INLINE_RESULT_BYTES, USER_LOG, Event
from stratix_kombu.model.names import check_event_name
from stratix_kombu.queue.listeners import Listeners
from stratix_kombu.stores.contract import EventLog

Function = TypeVar("Function", bound=Callable[..., object])


class Emitting:
    """The methods of ``app.queue`` for events of the user's own. Those of queues are heard with ``queue.on``."""

    _user_events: UserEvents

    def emit(self, event: str, *data: Any) -> None:
        """Tell all listeners of the namespace, in every process; ``data`` are JSON values.

        Listeners that come later are not told, and nothing waits for them: what must be done is a job. Raises
        ConfigurationError for the name of a built-in event, PayloadNotSerializable, PayloadTooLarge for more than 4 KiB
        of JSON, StoreUnavailable.

        >>> app.queue.emit("user.registered", {"id": 123})  # doctest: +SKIP
        """
        self._user_events.emit(event, data)

    @overload
    def on(self, event: str, function: Function) -> Function: ...

    @overload
    def on(self, event: str, function: None = None) -> Callable[[Function], Function]: ...

    def on(self, event: str, function: Any = None) -> Any:
        """Call ``function(*data)`` for each such event, from any process, in the order they were emitted in; or as a
        decorator. It may be ``async def``. Raises ConfigurationError for the name of a built-in event.

        >>> app.queue.on("user.registered", lambda user: print(user["id"]))  # doctest: +SKIP
        """
        if function is None:
            return lambda decorated: self.on(event, decorated)
        self._user_events.on(event, function)
        return function

    @overload
    def once(self, event: str, function: Function) -> Function: ...

    @overload
    def once(self, event: str, function: None = None) -> Callable[[Function], Function]: ...

    def once(self, event: str, function: Any = None) -> Any:
        """As ``on``, for the first such event only."""
        if function is None:
            return lambda decorated: self.once(event, decorated)
        self._user_events.on(event, function, once=True)
        return function

    def off(self, event: str, function: Callable[..., object] | None = None) -> int:
        """Remove a listener, or all of the event; how many there were."""
        return self._user_events.off(event, function)


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
                f"app.queue: {given!r} is an event of queues: listen with queue.on({given!r}, ...), and call your own "
                "events otherwise"
            )
        return given

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            try:
                self._pass_on(event.name, tuple(decode(event.value)))
            except (InvalidPayload, TypeError) as problem:
                self._skip(event, problem)
