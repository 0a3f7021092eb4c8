"""A handle on one job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from stratix_kombu.config.options import Duration, milliseconds
from stratix_kombu.drivers.native import arguments_of
from stratix_kombu.errors import JobCancelled, JobFailed, JobNotFound, WaitTimeout
from stratix_kombu.foreign import JOB
from stratix_kombu.hints import Hinted
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.one_job import (
    add_dependency,
    add_log_line,
    cancel,
    change_delay,
    promote_job,
    remove,
    remove_dependency,
    rerun,
    retry,
    set_data,
    set_progress,
)
from stratix_kombu.model.arguments import flag, plain_text, position
from stratix_kombu.model.awaiting import NotAwaitable
from stratix_kombu.model.bare import bare_record
from stratix_kombu.model.codec import MAX_PAYLOAD_BYTES, decode, encode
from stratix_kombu.model.headers import HEADERS, headers_of
from stratix_kombu.model.message import is_task_message
from stratix_kombu.model.names import check_known_id, key_of_run
from stratix_kombu.model.record import RUN, Ended, JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.model.text import bounded

if TYPE_CHECKING:
    from datetime import timedelta

    from stratix_kombu.aio import AsyncJob
    from stratix_kombu.types import JobState

LOG_LINES_KEPT = 1000
READ_AT_ONCE = 1000
"""Records of other jobs that are read with one call."""
LOG_LINE_BYTES = 16 * 1024
LOG_LINE_CUT = " ... (cut)"
_UNREAD = object()
"""The data of a job that has not been decoded yet."""


Resolve = Callable[["JobRecord | Ended | BaseException"], None]
"""Called with the record of a finished job, with how it ended if it has no record any more, or with the reason why that
cannot be known."""


class Waits(Protocol):
    """What waiting for a job needs: the event hub of its queue."""

    def wait(self, job_id: str, timeout: float | timedelta | None) -> JobRecord | Ended: ...

    def subscribe(self, job_id: str, resolve: Resolve) -> None: ...

    def unsubscribe(self, job_id: str, resolve: Resolve) -> None: ...

    def timed_out(self, job_id: str, patience: float) -> WaitTimeout: ...


class Runtime:
    """What a job needs of its queue."""

    __slots__ = ("engine", "hub", "max_payload_bytes")

    def __init__(self, engine: Engine, hub: Waits, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self.engine = engine
        self.hub = hub
        self.max_payload_bytes = max_payload_bytes


class Job(NotAwaitable, Hinted):
    """One job of a queue: its attributes, and what can be done with it.

    The attributes show the job as it was when this handle was made; ``refresh()`` reads it again. Instants are
    milliseconds since the epoch, of the store's clock.

    >>> job = queue.add("welcome", {"to": "a@example.com"})  # doctest: +SKIP
    >>> job.wait_until_finished(timeout=10)  # doctest: +SKIP
    """

    __slots__ = ("_data", "_headers", "_record", "_runtime", "_token")
    _foreign = JOB
    _meant = (
        "write 'await queue.aio.add(...)' to add a job, 'await job.aio.wait_until_finished()' to wait for its result"
    )

    def __init__(self, record: JobRecord, runtime: Runtime, token: str = "") -> None:
        self._record = record
        self._runtime = runtime
        self._token = token
        self._data: Any = _UNREAD
        self._headers: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name!r} of queue {self.queue_name!r}: {self._record.state}>"

    # -- what is known --------------------------------------------------------------------------

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
        if self._data is _UNREAD:
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

    @property
    def aio(self) -> AsyncJob:
        """The same methods for asyncio."""
        from stratix_kombu.aio import AsyncJob

        return AsyncJob(self, self._runtime.engine.calls)

    # -- reading --------------------------------------------------------------------------------

    def get_state(self) -> JobState:
        """Its current state. Raises JobNotFound."""
        return self.refresh().state

    def refresh(self) -> Job:
        """Read the job again, and return it. Raises JobNotFound."""
        (record,) = self._runtime.engine.store.queries.get([self.id])
        if record is None:
            raise JobNotFound(self.id, self.queue_name)
        self._set(record)
        return self

    def wait_until_finished(self, timeout: float | timedelta | None = None) -> Any:
        """Wait for the job to finish, and return its result.

        ``timeout`` is in seconds, or a timedelta. The outcome of a job that is removed when it finishes is available
        for one more minute. Raises JobFailed with the reason, WaitTimeout, and JobNotFound if the job was removed.

        >>> queue.add("sum", [1, 2]).wait_until_finished(timeout=5)  # doctest: +SKIP
        3
        """
        return self._finished(self._runtime.hub.wait(self.id, timeout))

    def get_logs(self, start: int = 0, end: int = -1) -> list[str]:
        """Lines of the job's log, oldest first; ``start`` to ``end`` inclusive, negative ones from the end."""
        start, end = position(start, "get_logs: 'start'"), position(end, "get_logs: 'end'")
        return self._runtime.engine.store.queries.logs(self.id, start, end)

    def get_dependencies(self) -> list[Job]:
        """The jobs it depends on, with their states. If the record of one no longer exists, its handle only says how it
        ended; a job that was removed before it finished is left out.

        >>> [(one.id, one.state) for one in job.get_dependencies()]  # doctest: +SKIP
        """
        states = self._runtime.engine.store.queries.dependencies(self.id)
        return list(self._others({job_id: state for job_id, state in states.items() if state is not None}))

    def get_dependency_states(self) -> dict[str, JobState | None]:
        """Ids of the jobs it depends on, with their states; None for one that was removed before it finished. Only
        these are read."""
        states = self._runtime.engine.store.queries.dependencies(self.id)
        return {job_id: None if state is None else state.value for job_id, state in states.items()}

    def get_dependents(self) -> list[Job]:
        """The jobs that depend on it, sorted by their ids."""
        return list(self._others(dict.fromkeys(self._runtime.engine.store.queries.dependents(self.id))))

    def get_dependency_results(self) -> dict[str, Any]:
        """Results of the completed jobs it depends on, by id."""
        results = self._runtime.engine.store.queries.dependency_results(self.id)
        return {job_id: decode(result) for job_id, result in results.items()}

    # -- changing -------------------------------------------------------------------------------

    def update_progress(self, value: Any) -> None:
        """Set the progress to any JSON value, and emit ``progress``. Raises JobNotFound,
        PayloadNotSerializable, PayloadTooLarge."""
        text = encode(value, f"the progress of job {self.name!r}", self._runtime.max_payload_bytes)
        set_progress(self._runtime.engine, self.id, text)
        self._record = replace(self._record, progress=text)

    def log(self, line: str) -> int:
        """Append a line to the job's log, which keeps the newest 1,000 lines; return how many it has. A line is cut
        after 16 KiB, with a mark. Raises JobNotFound."""
        text = bounded(str(line), LOG_LINE_BYTES, mark=LOG_LINE_CUT)
        return add_log_line(self._runtime.engine, self.id, text, LOG_LINES_KEPT)

    def update_data(self, data: Any) -> None:
        """Replace the data. Raises JobNotFound, PayloadNotSerializable, PayloadTooLarge."""
        text = encode(data, f"the data of job {self.name!r}", self._runtime.max_payload_bytes)
        set_data(self._runtime.engine, self.id, text)
        self._record = replace(self._record, data=text)
        self._data = decode(text)

    def retry(self) -> None:
        """Run a failed job again. Raises JobNotFound, InvalidJobState."""
        retry(self._runtime.engine, self.id)

    def rerun(self, dependents: bool = False) -> None:
        """Run a completed job again; its result is discarded, and its attempts continue to be counted. Jobs that depend
        on it are not affected. With ``dependents``, they wait for it again: those that have completed or failed run
        again, active ones are left alone. Raises JobNotFound, InvalidJobState.

        >>> job.rerun(dependents=True)  # doctest: +SKIP
        """
        rerun(self._runtime.engine, self.id, flag(dependents, "rerun: 'dependents'"))

    def promote(self) -> None:
        """Run a delayed job now. Raises JobNotFound, InvalidJobState."""
        promote_job(self._runtime.engine, self.id)

    def change_delay(self, delay: Duration) -> None:
        """Delay a delayed job by that long from now (milliseconds or a timedelta), whatever the reason for its delay:
        its own ``delay``, a back-off, a limit. Raises JobNotFound, InvalidJobState.

        >>> job.change_delay(timedelta(minutes=5))  # doctest: +SKIP
        """
        change_delay(self._runtime.engine, self.id, milliseconds(delay, "change_delay: 'delay'"))

    def remove(self) -> None:
        """Delete the job; required dependents fail. Raises JobNotFound, InvalidJobState while it is active."""
        remove(self._runtime.engine, self.id)

    def add_dependency(self, job: Job | str) -> None:
        """Let this job depend on another one, as long as it has not started.

        Raises JobNotFound, DependencyNotFound, DependencyCycle, JobAlreadyStarted.
        """
        add_dependency(self._runtime.engine, self.id, _id_of(job))

    def remove_dependency(self, job: Job | str) -> None:
        """Let this job no longer depend on another one. Raises JobNotFound, DependencyNotFound, JobAlreadyStarted."""
        remove_dependency(self._runtime.engine, self.id, _id_of(job))

    def cancel(self, reason: str = "cancelled") -> None:
        """Cancel the job, from any process. A job that has not begun fails at once, with ``reason``. A running handler
        is notified within about a second: an ``async def`` handler is cancelled; for a plain one ``job.cancelled`` is
        true and ``job.check_cancelled()`` raises; a sandboxed one is killed one second later. The job then fails with
        ``reason`` (of which 4 KiB are kept), whatever its handler raised, and is not tried again; if the handler
        returns a result nevertheless, that is accepted. Raises JobNotFound, and InvalidJobState for a job that has
        finished."""
        cancel(self._runtime.engine, self.id, plain_text(reason, "cancel: 'reason'"))

    @property
    def cancelled(self) -> bool:
        """In a handler: whether it should stop, because the job was cancelled, has exceeded its timeout, or was lost to
        another worker."""
        return self._runtime.engine.cancellations.is_asked(self._token)

    def check_cancelled(self) -> None:
        """In a handler: raise JobCancelled if the handler should stop."""
        if self.cancelled:
            raise JobCancelled(self.id)

    # -- within the package ---------------------------------------------------------------------

    @property
    def _hub(self) -> Waits:
        return self._runtime.hub

    def _others(self, states: Mapping[str, State | None]) -> Iterator[Job]:
        """Handles on jobs of any queue, as they are now, without those that have neither record nor state."""
        engine, ids = self._runtime.engine, list(states)
        for start in range(0, len(ids), READ_AT_ONCE):
            page = ids[start : start + READ_AT_ONCE]
            for job_id, record in zip(page, engine.store.queries.get(page), strict=True):
                state = states[job_id]
                if record is None and state is not None:
                    record = bare_record(job_id, "", "", state)
                if record is not None:
                    yield Job(record, engine.runtimes.get(record.queue, self._runtime))

    def _set(self, record: JobRecord) -> None:
        self._record = record
        self._data = _UNREAD

    def _finished(self, end: JobRecord | Ended) -> Any:
        """Show how the job ended; its result. Raises JobFailed."""
        if isinstance(end, Ended):
            end = end.record_of(self._record)
        self._set(end)
        if end.state is State.FAILED:
            raise JobFailed(self.id, end.failed_reason or "")
        return decode(end.result)


def _id_of(job: Job | str) -> str:
    return job.id if isinstance(job, Job) else check_known_id(job)
