"""A handle on one job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from stratix_kombu.config.options import Duration, milliseconds, whole
from stratix_kombu.errors import JobCancelled, JobFailed, JobNotFound, WaitTimeout
from stratix_kombu.foreign import JOB
from stratix_kombu.lifecycle.complete_in import complete_in, complete_in_async
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.one_job import (
    add_dependency,
    add_log_line,
    cancel,
    change_delay,
    change_priority,
    promote_job,
    remove,
    remove_dependency,
    rerun,
    retry,
    set_data,
    set_progress,
)
from stratix_kombu.model.arguments import flag, plain_text, position
from stratix_kombu.model.attempts import Attempt
from stratix_kombu.model.bare import bare_record
from stratix_kombu.model.codec import MAX_PAYLOAD_BYTES, decode, encode
from stratix_kombu.model.names import check_known_id
from stratix_kombu.model.record import Ended, Held, JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.model.text import bounded
from stratix_kombu.queue.known_job import UNREAD, KnownJob

if TYPE_CHECKING:
    from datetime import timedelta

    from stratix_kombu.aio import AsyncJob
    from stratix_kombu.types import JobState

LOG_LINES_KEPT = 1000
READ_AT_ONCE = 1000
"""Records of other jobs that are read with one call."""
LOG_LINE_BYTES = 16 * 1024
LOG_LINE_CUT = " ... (cut)"

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


class Job(KnownJob):
    """One job of a queue: its attributes, and what can be done with it.

    The attributes show the job as it was when this handle was made; ``refresh()`` reads it again. Instants are
    milliseconds since the epoch, of the store's clock.

    >>> job = queue.add("welcome", {"to": "a@example.com"})  # doctest: +SKIP
    >>> job.wait_until_finished(timeout=10)  # doctest: +SKIP
    """

    __slots__ = ("_runtime", "_token")
    _foreign = JOB
    _meant = (
        "write 'await queue.aio.add(...)' to add a job, 'await job.aio.wait_until_finished()' to wait for its result"
    )

    def __init__(self, record: JobRecord, runtime: Runtime, token: str = "") -> None:
        self._record = record
        self._runtime = runtime
        self._token = token
        self._data = UNREAD
        self._headers = None

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

    def get_attempts(self) -> list[Attempt]:
        """Its attempts, the first one first: when each began and ended, on which worker, how, and why it failed. The
        last one may still run (``finished_on`` is None); of those before it the newest 20 are kept. Raises JobNotFound.

        >>> [(one.number, one.outcome, one.error_path) for one in job.get_attempts()]  # doctest: +SKIP
        [(1, 'timeout', None), (2, 'failed', 'shop.errors.CardRefused'), (3, 'completed', None)]
        """
        attempts = self._runtime.engine.store.queries.attempts(self.id)
        if attempts is None:
            raise JobNotFound(self.id, self.queue_name)
        return attempts

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

    def change_priority(self, priority: int) -> None:
        """Give a job that has not begun another priority (0, the first, to 9). A waiting job stands behind those that
        wait with that priority already; with the one that it has, it keeps its place. Raises JobNotFound, and
        InvalidJobState for a job that has begun, and for a Celery task that waits: its message is in the broker's queue
        already.

        >>> job.change_priority(0)  # doctest: +SKIP
        """
        change_priority(self._runtime.engine, self.id, whole(priority, "change_priority: 'priority'", 0, 9))

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

    def complete_in(self, connection: Any, result: Any = None) -> None:
        """In a handler, with a PostgreSQL store: complete the job with this result (any JSON value) when the
        transaction of ``connection`` is committed, which may be any that ``queue.add(..., connection=...)`` takes. What
        the handler returns after that is ignored. If the transaction is rolled back, the attempt goes on, and ends as
        the handler does.

        Raises StaleClaim if the job was given to another attempt or removed, JobCancelled if it was cancelled,
        PayloadNotSerializable, PayloadTooLarge, and ConfigurationError for another store, a connection that is to
        another database or in no transaction, and outside of the job's handler. Where the job is taken away between
        this call and the commit, the commit fails.

        >>> job.complete_in(connection, {"charged": 7})  # doctest: +SKIP
        """
        complete_in(self._runtime.engine, Held(self.id, self._token), self._result(result), connection)

    # -- within the package ---------------------------------------------------------------------

    @property
    def _hub(self) -> Waits:
        return self._runtime.hub

    async def _complete_by(self, connection: Any, result: Any) -> None:
        """``complete_in``, by a connection of asyncio."""
        await complete_in_async(self._runtime.engine, Held(self.id, self._token), self._result(result), connection)

    def _result(self, value: Any) -> str:
        what = f"the result of job {self.name!r} in queue {self.queue_name!r}"
        return encode(value, what, self._runtime.max_payload_bytes)

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
        self._data = UNREAD

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
