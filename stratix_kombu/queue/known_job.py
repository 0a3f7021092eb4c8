"""What is known of one job: the attributes of a handle on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stratix_kombu.hints import Hinted
from stratix_kombu.model.awaiting import NotAwaitable
from stratix_kombu.model.codec import decode
from stratix_kombu.model.headers import HEADERS, headers_of
from stratix_kombu.model.message import is_task_message
from stratix_kombu.model.names import key_of_run
from stratix_kombu.model.record import RUN, JobRecord
from stratix_kombu.model.tasks import arguments_of

if TYPE_CHECKING:
    from stratix_kombu.types import JobState

UNREAD = object()
"""The data of a job that has not been decoded yet."""


class KnownJob(NotAwaitable, Hinted):
    """The attributes of a job as it was when it was read. Instants are milliseconds since the epoch, of the store's
    clock."""

    __slots__ = ("_data", "_headers", "_record")
    _data: Any
    _headers: dict[str, str] | None
    _record: JobRecord

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.name!r} of queue {self.queue_name!r}: {self._record.state}>"

    @property
    def id(self) -> str:
        """Its id: the one it was given, or a random one."""
        return self._record.id

    @property
    def name(self) -> str:
        """Its name, by which its handler is found."""
        return self._record.name

    @property
    def queue_name(self) -> str:
        """The queue it was added to."""
        return self._record.queue

    @property
    def data(self) -> Any:
        """The data it was added with, or that ``update_data`` set; for a Celery task its ``args`` and ``kwargs``."""
        if self._data is UNREAD:
            message = self._record.message
            self._data = arguments_of(message) if is_task_message(message) else decode(self._record.data)
        return self._data

    @property
    def is_task(self) -> bool:
        """Whether it is a Celery task, which Celery workers run, with arguments instead of data."""
        return is_task_message(self._record.message)

    @property
    def opts(self) -> Mapping[str, Any]:
        """Options kept with the job: ``attempts`` and ``priority``, and ``backoff``, ``timeout`` (milliseconds) and
        ``group`` where they were given."""
        kept = decode(self._record.options) if self._record.options else {}
        kept.pop(HEADERS, None)
        return {"attempts": self._record.max_attempts, "priority": self._record.priority, **kept}

    @property
    def headers(self) -> dict[str, str]:
        """Texts by name that middleware around ``add`` gave the job, beside its data; most jobs have none. The handler
        sees what middleware around ``run`` puts there, also in a sandbox, but it is not stored."""
        if self._headers is None:
            self._headers = headers_of(self._record.options)
        return self._headers

    @property
    def state(self) -> JobState:
        """The state it was in when it was read; ``get_state`` returns the current one."""
        return self._record.state.value

    @property
    def progress(self) -> Any:
        """The last value passed to ``update_progress``, a JSON value; None before."""
        return decode(self._record.progress)

    @property
    def attempts_made(self) -> int:
        """Attempts that have ended."""
        return self._record.attempts_made

    @property
    def attempts_started(self) -> int:
        """Attempts that have begun; more than ``attempts_made`` if a worker was lost."""
        return self._record.attempts_started

    @property
    def repeat_key(self) -> str | None:
        """The key of the repeatable job that it is a run of; None for other jobs."""
        return key_of_run(self.id, self.queue_name) if self._record.kind == RUN else None

    @property
    def worker(self) -> str | None:
        """The id of the worker that runs it, or ran it last; None before that."""
        return self._record.worker or None

    @property
    def return_value(self) -> Any:
        """What its handler returned, a JSON value; None until it has completed."""
        return decode(self._record.result)

    @property
    def failed_reason(self) -> str | None:
        """Why it, or its last attempt, failed; None before, and once it has completed."""
        return self._record.failed_reason

    @property
    def was_cancelled(self) -> bool:
        """Whether it failed because it was cancelled; ``failed_reason`` is the reason given then."""
        return self._record.cancelled

    @property
    def stacktrace(self) -> list[str]:
        """The traceback of its last failed attempt: a list of texts, empty if there is none."""
        return list(decode(self._record.stacktrace) or [])

    @property
    def timestamp(self) -> int:
        """When it was added: milliseconds since the epoch."""
        return self._record.created_ms

    @property
    def processed_on(self) -> int | None:
        """When its last attempt began: milliseconds since the epoch; None before the first."""
        return self._record.processed_ms or None

    @property
    def finished_on(self) -> int | None:
        """When it finished: milliseconds since the epoch; None before."""
        return self._record.finished_ms or None
