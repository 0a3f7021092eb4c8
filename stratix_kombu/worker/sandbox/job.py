"""The job as a handler in a child sees it: its attributes were sent along, and the worker executes its methods."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stratix_kombu import forks
from stratix_kombu.calls import Calls
from stratix_kombu.config.options import milliseconds
from stratix_kombu.errors import ConfigurationError, JobCancelled
from stratix_kombu.foreign import JOB
from stratix_kombu.hints import hint_for, missing
from stratix_kombu.model.attempts import Attempt
from stratix_kombu.model.awaiting import NotAwaitable
from stratix_kombu.worker.sandbox.protocol import ATTRIBUTES, Message

if TYPE_CHECKING:
    from stratix_kombu.aio import AsyncJob


_CALLS = Calls()
"""Of all jobs of this child: it runs one at a time."""


class SandboxJob(NotAwaitable, forks.OfOneProcess):
    """A ``Job`` in its handler, with the same attributes and methods, except waiting for itself. Methods raise the same
    errors as those of ``Job``. For other jobs (its dependencies) only the attributes are available."""

    _meant = "write 'await job.aio....' for its methods"

    def __init__(self, attributes: Message, call: Callable[..., Any], is_cancelled: Callable[[], bool]) -> None:
        self._call = call
        self._is_cancelled = is_cancelled
        self._set(attributes)

    def __repr__(self) -> str:
        return f"<SandboxJob {self.id} {self.name!r} of queue {self.queue_name!r}>"

    def __getattr__(self, name: str) -> Any:
        if name not in ATTRIBUTES:
            hint = "" if name.startswith("_") else hint_for(name, [*ATTRIBUTES, *dir(self)], JOB)
            raise missing(f"a sandboxed job has no attribute {name!r}{hint}", name)
        return self._attributes[name]

    @property
    def aio(self) -> AsyncJob:
        """The same methods for asyncio."""
        from stratix_kombu.aio import AsyncJob

        return AsyncJob(self, _CALLS)  # type: ignore[arg-type]  # it is used like one

    @property
    def cancelled(self) -> bool:
        return self._is_cancelled()

    def check_cancelled(self) -> None:
        if self.cancelled:
            raise JobCancelled(self.id)

    def update_progress(self, value: Any) -> None:
        self._call("update_progress", value)
        self._attributes["progress"] = value

    def log(self, line: str) -> int:
        return int(self._call("log", str(line)))

    def update_data(self, data: Any) -> None:
        self._call("update_data", data)
        self._attributes["data"] = data

    def refresh(self) -> SandboxJob:
        self._set(self._call("refresh"))
        return self

    def get_state(self) -> str:
        return str(self._call("get_state"))

    def get_logs(self, start: int = 0, end: int = -1) -> list[str]:
        return list(self._call("get_logs", start, end))

    def get_attempts(self) -> list[Attempt]:
        return [Attempt(**one) for one in self._call("get_attempts")]

    def get_dependencies(self) -> list[SandboxJob]:
        return [_other(one) for one in self._call("get_dependencies")]

    def get_dependency_states(self) -> dict[str, str | None]:
        return dict(self._call("get_dependency_states"))

    def get_dependents(self) -> list[SandboxJob]:
        return [_other(one) for one in self._call("get_dependents")]

    def get_dependency_results(self) -> dict[str, Any]:
        return dict(self._call("get_dependency_results"))

    def add_dependency(self, job: Any) -> None:
        self._call("add_dependency", getattr(job, "id", job))

    def remove_dependency(self, job: Any) -> None:
        self._call("remove_dependency", getattr(job, "id", job))

    def cancel(self, reason: str = "cancelled") -> None:
        self._call("cancel", reason)

    def change_delay(self, delay: float | timedelta) -> None:
        self._call("change_delay", milliseconds(delay, "change_delay: 'delay'"))

    def change_priority(self, priority: int) -> None:
        self._call("change_priority", priority)

    def promote(self) -> None:
        self._call("promote")

    def remove(self) -> None:
        self._call("remove")

    def retry(self) -> None:
        self._call("retry")

    def rerun(self, dependents: bool = False) -> None:
        self._call("rerun", dependents)

    def complete_in(self, connection: Any, result: Any = None) -> None:
        raise ConfigurationError(
            "complete_in: not in a sandbox, whose worker completes the job when the handler returns"
        )

    async def _complete_by(self, connection: Any, result: Any) -> None:
        self.complete_in(connection, result)

    def _set(self, attributes: Message) -> None:
        self._attributes = attributes


def _other(attributes: Message) -> SandboxJob:
    """The handle on another job than the handler's."""

    def call(method: str, *arguments: Any) -> Any:
        raise ConfigurationError(
            f"{method}: in a sandbox only the handler's own job has methods, and job {attributes['id']} is another one"
        )

    return SandboxJob(attributes, call, lambda: False)
