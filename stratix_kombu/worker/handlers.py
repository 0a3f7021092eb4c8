"""Handlers of one queue, by job name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stratix_kombu.config.options import ProcessorOptions
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.awaiting import is_async
from stratix_kombu.model.functions import check_takes, same_function
from stratix_kombu.model.names import check_job_name
from stratix_kombu.worker.sandbox.source import Source, source_of

logger = logging.getLogger("stratix_kombu.queue")

SCRIPTS = frozenset({".py", ".js", ".mjs", ".cjs", ".ts"})
"""Endings by which a text is the path of a handler. All but the first are refused then: they are no Python."""


def is_path(value: object) -> bool:
    """Whether it is the path of a handler, and not the name of jobs."""
    return isinstance(value, Path) or (isinstance(value, str) and Path(value).suffix.lower() in SCRIPTS)


@dataclass(frozen=True, slots=True)
class Handler:
    """A function of the job, or the path of one; ``is_async`` ones run on the event loop, those with a ``source`` in a
    child process."""

    function: Any
    is_async: bool
    source: Source | None = None


def say_what_is_unused(queue: str, function: object, processor: ProcessorOptions) -> None:
    """Log sandbox options that have no effect, if this handler runs in no sandbox."""
    if processor.max_memory_usage and not processor.sandboxed and not is_path(function):
        logger.warning(
            "queue %s: 'max_memory_usage' applies to sandboxed handlers only: set "
            "processor={'sandboxed': True, ...}, or leave it out",
            queue,
            extra={"action": "option_unused", "queue": queue},
        )


def say_what_is_idle(queues: Iterable[Any]) -> None:
    """A program that was meant to work and only waits has most likely not imported its handlers."""
    if not any(getattr(queue, "handler_names", True) for queue in queues):
        logging.getLogger("stratix_kombu").warning(
            "no queue has a handler, so this process takes no jobs and only runs the clock: import "
            "the modules that call queue.process() before app.run()",
            extra={"action": "no_handlers"},
        )


class Handlers:
    """At most one handler for each job name, and one for all names without their own."""

    def __init__(self, where: str = "this queue") -> None:
        self._where = where
        self._by_name: dict[str | None, Handler] = {}
        self.explain: Callable[[str], str] = lambda name: ""
        """What may be meant by a name that has no handler; '' = nobody knows."""

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def register(self, name: str | None, function: Callable[[Any], Any] | str | Path, sandboxed: bool = False) -> None:
        """Let ``function`` handle jobs called ``name``, or all others if None; the path of a file that defines one is
        always sandboxed. Registering the same function again changes nothing, even a lambda or an inner function that
        the same line creates each time; another function raises ConfigurationError."""
        what = "all jobs" if name is None else f"jobs called {check_job_name(name)!r}"
        if not isinstance(function, (str, Path)) and not callable(function):
            raise ConfigurationError(
                f"{self._where}: a handler of {what} must be a function of the job, or the path of one, "
                f"not {function!r}"
            )
        if not isinstance(function, (str, Path)):
            check_takes(function, ("the job",), f"a handler of {what}")
        known = self._by_name.get(name)
        if known is not None:
            if same_function(known.function, function):
                return
            raise ConfigurationError(
                f"{self._where} already has a different handler for {what}, and each name has one. In a notebook, "
                "close the application and create it anew in the cell that defines the handler"
            )
        if sandboxed or isinstance(function, (str, Path)):
            self._by_name[name] = Handler(function, is_async=False, source=source_of(function))
            return
        self._by_name[name] = Handler(function, is_async(function))

    def find(self, name: str) -> Handler | None:
        """The handler for jobs of that name."""
        return self._by_name.get(name) or self._by_name.get(None)

    @property
    def names(self) -> list[str]:
        """The names that have a handler of their own, sorted."""
        return sorted(name for name in self._by_name if name is not None)

    @property
    def takes_all(self) -> bool:
        """Whether there is one for all other names."""
        return None in self._by_name
