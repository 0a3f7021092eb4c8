"""Handlers that are declared before there is an application, in modules that need not know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.functions import NOT_GIVEN

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.job import Job

Handler = TypeVar("Handler", bound="Callable[[Job], object]")


class Declared(NamedTuple):
    """One handler; ``name`` None = of all jobs of the queue that have none of their own."""

    queue: str
    name: str | None
    handler: Any


class Handlers:
    """Handlers by queue and name. An application takes them with ``app.include(handlers)``.

    >>> handlers = Handlers()
    >>> @handlers.process("emails", "welcome")
    ... def welcome(job): ...
    """

    def __init__(self) -> None:
        self._declared: list[Declared] = []
        self._applications: list[Application] = []

    @overload
    def process(self, queue: str, name: str | None = None) -> Callable[[Handler], Handler]: ...

    @overload
    def process(self, queue: str, name: str | None, handler: Handler) -> Handler: ...

    def process(self, queue: str, name: str | None = None, handler: Any = NOT_GIVEN) -> Any:
        """Declare a handler of the jobs of that name, or of all others of the queue; or as a decorator. As
        ``queue.process`` otherwise; applications that include these handlers already are given it at once."""
        if handler is NOT_GIVEN:
            return lambda function: self.process(queue, name, function)
        one = Declared(queue, name, handler)
        self._declared.append(one)
        for app in self._applications:
            _give(app, one)
        return handler

    def given_to(self, app: Application) -> None:
        """What ``app.include`` does."""
        self._applications.append(app)
        for declared in self._declared:
            _give(app, declared)


def include(app: Application, handlers: object) -> None:
    """Raises ConfigurationError for what are no ``Handlers``."""
    if not isinstance(handlers, Handlers):
        raise ConfigurationError(
            f"include: {handlers!r} is not a Handlers: declare handlers with handlers = Handlers() and "
            "@handlers.process(queue, name), and give 'handlers'"
        )
    handlers.given_to(app)


def _give(app: Application, one: Declared) -> None:
    queue = app.queue.get_queue(one.queue)
    if one.name is None:
        queue.process(one.handler)
    else:
        queue.process(one.name, one.handler)
