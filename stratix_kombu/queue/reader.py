"""Reading a queue and listening to it; nothing changes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast, overload

from stratix_kombu.answer_types import JobPage, ReasonPage, ScheduleRun
from stratix_kombu.config.options import limiter_of, whole
from stratix_kombu.errors import ConfigurationError, JobFailed, nearest
from stratix_kombu.foreign import STATES
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.redrive import letter_of
from stratix_kombu.model.arguments import plain_text, position, seconds
from stratix_kombu.model.event import Event
from stratix_kombu.model.finding import LOOKED_AT_ONCE, filter_of, grouped
from stratix_kombu.model.metrics import KEPT_HOURS, KEPT_MINUTES, NAMED_HOURS, QueueMetrics
from stratix_kombu.model.names import check_known_id
from stratix_kombu.model.record import JobRecord, QueueStatus, WorkerInfo
from stratix_kombu.model.runs import RUNS_KEPT
from stratix_kombu.model.state import State
from stratix_kombu.queue.events import QueueEvents
from stratix_kombu.queue.job import Job
from stratix_kombu.queue.repeatables import RepeatableJob, repeatables_of, runs_of_schedule
from stratix_kombu.stores.contract import FOUND_AT_ONCE

if TYPE_CHECKING:
    from stratix_kombu.types import (
        DeadLetter,
        EventName,
        FindOpts,
        JobEvent,
        LimiterOpts,
        ListedState,
        PlainEvent,
        Unpack,
        ValueEvent,
    )

MAX_EVENTS = 100_000
READ_WAIT_S = 0.25
"""The longest time that one call to the store waits for events."""

Result = TypeVar("Result")
JobCall: TypeAlias = Callable[[Job], Result]
ValueCall: TypeAlias = Callable[[Job, Any], Result]
FailureCall: TypeAlias = Callable[[Job, JobFailed], Result]
CountCall: TypeAlias = Callable[[int], Result]
PlainCall: TypeAlias = Callable[[], Result]
ErrorCall: TypeAlias = Callable[[Exception], Result]
JobListener = TypeVar("JobListener", bound=Callable[[Job], object])
ValueListener = TypeVar("ValueListener", bound=Callable[[Job, Any], object])
FailureListener = TypeVar("FailureListener", bound=Callable[[Job, JobFailed], object])
CountListener = TypeVar("CountListener", bound=Callable[[int], object])
PlainListener = TypeVar("PlainListener", bound=Callable[[], object])
ErrorListener = TypeVar("ErrorListener", bound=Callable[[Exception], object])


class QueueReader:
    """Reads a queue and listens to it, in any process. It changes nothing, and is complete by itself."""

    def __init__(self, name: str, engine: Engine, events: QueueEvents) -> None:
        self.name = name
        self._engine = engine
        self._events = events
        self._runtime = events.runtime

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    # -- reading --------------------------------------------------------------------------------

    def get_job(self, job_id: str) -> Job | None:
        """The job with that id, or None. Raises ConfigurationError if no job can have such an id."""
        (record,) = self._engine.store.queries.get([check_known_id(job_id)])
        return Job(record, self._runtime) if record and record.queue == self.name else None

    def get_jobs(
        self, states: ListedState | Collection[ListedState] = (), start: int = 0, end: int | None = None
    ) -> list[Job]:
        """Jobs in the given states (all, if none is named), ``start`` to ``end`` inclusive, negative from the end.
        Without ``end`` at most 1,000 of them are read; ``end=-1`` reads all, page by page, not at one instant.

        Waiting jobs come in the order of dispatch, delayed ones by due time, finished ones newest first.

        >>> queue.get_jobs(["failed"], 0, 9)  # doctest: +SKIP
        """
        if not isinstance(states, Collection):
            raise ConfigurationError(f"get_jobs: 'states' must be a state or a list of states, not {states!r}")
        start = position(start, "get_jobs: 'start'")
        end = None if end is None else position(end, "get_jobs: 'end'")
        names = [states] if isinstance(states, str) else list(states)
        wanted = list(dict.fromkeys([_state(self.name, name) for name in names] or State))
        return [Job(record, self._runtime) for record in self._find(wanted, start, end)]

    def _find(self, states: Sequence[State], start: int, end: int | None) -> Iterator[JobRecord]:
        """Page by page, each once."""
        if start < 0 or (end is not None and not 0 <= end < start + FOUND_AT_ONCE):
            size = self._size(states)
            start = max(start + size, 0) if start < 0 else start
            end = None if end is None else min(end + size if end < 0 else end, size - 1)
        last = start + FOUND_AT_ONCE - 1 if end is None else end
        seen: set[str] = set()
        for first in range(start, last + 1, FOUND_AT_ONCE):
            page = self._engine.store.queries.find(self.name, states, first, min(first + FOUND_AT_ONCE - 1, last))
            yield from (record for record in page if record.id not in seen)
            seen.update(record.id for record in page)

    def _size(self, states: Sequence[State]) -> int:
        """The number of jobs in these states together."""
        counts = self._engine.store.queries.status(self.name).counts
        return sum(counts[state.value] for state in states) + (counts["paused"] if State.WAITING in states else 0)

    def find_jobs(self, state: ListedState, cursor: str = "", limit: int = 100, **options: Unpack[FindOpts]) -> JobPage:
        """Jobs in a state that fit all options, page by page: finished ones newest first, others in the order of
        ``get_jobs``.

        Options: ``name`` and ``reason``, in which ``*`` stands for any text and ``?`` for any character (a reason fits
        if the text is anywhere in it); ``id`` (how the id begins); ``group``; ``worker`` (the id of the one that runs
        the job or ran it last); ``since`` and ``until``, instants between which it finished, or was added, if it has
        not finished.

        A page has at most ``limit`` jobs (1 to 1,000). The store looks at no more than 1,000 jobs for it, so a page may
        be short or empty before the last one: go on with its ``cursor`` until that is ``""``. Raises
        ConfigurationError, StoreUnavailable.

        >>> page = queue.find_jobs("failed", name="mail.*", reason="timed out")  # doctest: +SKIP
        >>> page = queue.find_jobs("failed", page.cursor, name="mail.*", reason="timed out")  # doctest: +SKIP
        """
        where = filter_of(options, "find_jobs")
        whole(limit, "find_jobs: 'limit'", 1, LOOKED_AT_ONCE)
        cursor = plain_text(cursor, "find_jobs: 'cursor'")
        page = self._engine.store.queries.page(self.name, _state(self.name, state), where, cursor, limit)
        return JobPage([Job(record, self._runtime) for record in page.records], page.cursor, page.looked)

    def get_failure_reasons(self, cursor: str = "", limit: int = 1000) -> ReasonPage:
        """Why jobs of the queue failed: the failed jobs grouped by what their reasons have in common, the largest group
        first. The newest ``limit`` of them are looked at (1 to 1,000); go on with the page's ``cursor`` until that is
        ``""``. ``find_jobs`` with the ``reason`` of a group finds its jobs. Raises ConfigurationError,
        StoreUnavailable.

        >>> [(one.count, one.error) for one in queue.get_failure_reasons().groups]  # doctest: +SKIP
        """
        return self._reasons("get_failure_reasons", False, cursor, limit)

    def get_letter_reasons(self, cursor: str = "", limit: int = 1000) -> ReasonPage:
        """As ``get_failure_reasons``, of the dead letters that wait in this queue, in their order: why the jobs that
        they describe failed."""
        return self._reasons("get_letter_reasons", True, cursor, limit)

    def _reasons(self, call: str, letters: bool, cursor: str, limit: int) -> ReasonPage:
        whole(limit, f"{call}: 'limit'", 1, LOOKED_AT_ONCE)
        cursor = plain_text(cursor, f"{call}: 'cursor'")
        failures, cursor, looked = self._engine.store.queries.failures(self.name, letters, cursor, limit)
        return ReasonPage(grouped(failures), cursor, looked)

    def get_job_counts(self) -> dict[str, int]:
        """The number of jobs in each state; while the queue is paused, waiting jobs count as ``paused``."""
        return self.get_status().counts

    def get_status(self) -> QueueStatus:
        """Counts, whether it is paused, workers, and the age in milliseconds of the oldest waiting job."""
        return self._engine.store.queries.status(self.name)

    def get_metrics(
        self, minutes: int | None = None, *, hours: int | None = None, name: str | None = None
    ) -> QueueMetrics:
        """What happened in the last ``minutes`` (1 to 1440, default 60; the current one is the last), or instead in the
        last ``hours`` (1 to 744): how jobs and attempts ended; how long they waited and ran, with count, sum and
        percentiles in milliseconds. A percentile is exact below 16 ms, and at most 6.25 % off above.

        With ``name``, one of ``get_metric_names``, only attempts at jobs of that name in the last ``hours`` (1 to 168):
        ``completed`` and ``failed`` are how many ended so, whether another one is made or not, and the other counts are
        0. Raises ConfigurationError, StoreUnavailable.

        >>> queue.get_metrics(minutes=5).total.run.p95_ms  # doctest: +SKIP
        >>> [hour.failed for hour in queue.get_metrics(hours=24, name="welcome").hours]  # doctest: +SKIP
        """
        queries = self._engine.store.queries
        if minutes is not None and (hours is not None or name is not None):
            raise ConfigurationError(
                "get_metrics: 'minutes' stands alone: give it, or 'hours' with or without a 'name'"
            )
        if hours is None and name is None:
            last = whole(60 if minutes is None else minutes, "get_metrics: 'minutes'", 1, KEPT_MINUTES)
            return QueueMetrics.of(self.name, queries.metrics(self.name, last))
        if hours is None:
            raise ConfigurationError("get_metrics: 'name' belongs to 'hours': set that too")
        whole(hours, "get_metrics: 'hours'", 1, KEPT_HOURS if name is None else NAMED_HOURS)
        named = "" if name is None else plain_text(name, "get_metrics: 'name'")
        return QueueMetrics.of(self.name, hours=queries.hours(self.name, hours, named))

    def get_metric_names(self) -> list[str]:
        """Names of jobs by which ``get_metrics`` tells attempts apart, sorted: the first hundred of the queue, and
        ``(other)`` for all that came later."""
        return self._engine.store.queries.names(self.name)

    def get_workers(self) -> list[WorkerInfo]:
        """Workers that run jobs of this queue, in all processes."""
        return self._engine.store.queries.workers(self.name)

    def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return self.get_status().paused

    def get_rate_limit(self) -> LimiterOpts | None:
        """The limiter that ``set_rate_limit`` has set for all workers, with which that can be called again; None while
        that of the workers' options applies.

        >>> queue.get_rate_limit()  # doctest: +SKIP
        {'max': 100, 'duration': 60000}
        """
        limit, _ = self._engine.store.queries.bounds(self.name)
        return cast("LimiterOpts", limiter_of(limit)) if limit is not None else None

    def get_global_concurrency(self) -> int | None:
        """What ``set_global_concurrency`` has set for all workers (0 = no limit); None while the workers' option
        applies."""
        return self._engine.store.queries.bounds(self.name)[1]

    def get_dead_letters(self, start: int = 0, end: int | None = None) -> list[DeadLetter]:
        """Those of the waiting jobs ``start`` to ``end`` (as ``get_jobs``) that are letters, oldest first: ``id``,
        ``queue``, ``name``, ``data``, ``options``, ``reason``, ``attempts`` and ``max_attempts`` of the job that each
        describes. See ``redrive``.

        >>> [letter["reason"] for letter in app.queue.get_queue("dead").get_dead_letters()]  # doctest: +SKIP
        """
        start = position(start, "get_dead_letters: 'start'")
        end = None if end is None else position(end, "get_dead_letters: 'end'")
        records = self._find([State.WAITING, State.DELAYED], start, end)
        letters = (letter_of(record.data) for record in records)
        return [cast("DeadLetter", dict(letter)) for letter in letters if letter is not None]

    def get_events(self, after: str = "", limit: int = 1000, wait: float | timedelta = 0) -> list[Event]:
        """Entries of the queue's log, oldest first, at most ``limit``: those after the cursor of an ``Event``, or from
        the oldest that is kept. ``wait`` is how long to wait for the first one (seconds or a timedelta).

        >>> events = queue.get_events()  # doctest: +SKIP
        >>> queue.get_events(after=events[-1].cursor, wait=10)  # doctest: +SKIP
        """
        plain_text(after, "get_events: 'after'")
        whole(limit, "get_events: 'limit'", 1, MAX_EVENTS)
        patience = seconds(wait, "get_events: 'wait'")
        deadline = math.inf if patience is None else time.monotonic() + patience
        while True:
            left = min(max(deadline - time.monotonic(), 0), READ_WAIT_S)
            events = self._engine.store.events.read(self.name, after or "0", limit, round(left * 1000))
            if events or not left:
                return events

    def get_repeatable_jobs(self) -> list[RepeatableJob]:
        """The repeatable jobs of the queue, sorted by key; those that have ended are included until they are
        removed."""
        return list(repeatables_of(self._engine.store.schedules.all(self.name)))

    def get_schedule_runs(self, key: str, limit: int = RUNS_KEPT) -> list[ScheduleRun]:
        """The last runs of a repeatable job, newest first, at most ``limit`` (1 to 10): also those of
        ``run_repeatable_job``, and how those ended that their retention has removed. Raises RepeatableJobNotFound.

        >>> [run.state for run in queue.get_schedule_runs("nightly")]  # doctest: +SKIP
        ['active', 'completed', 'failed']
        """
        whole(limit, "get_schedule_runs: 'limit'", 1, RUNS_KEPT)
        return runs_of_schedule(self._engine, self.name, plain_text(key, "get_schedule_runs: 'key'"), limit)

    # -- listening ------------------------------------------------------------------------------

    @overload
    def on(self, event: JobEvent, function: JobCall[Result]) -> JobCall[Result]: ...

    @overload
    def on(self, event: JobEvent, function: None = None) -> Callable[[JobListener], JobListener]: ...

    @overload
    def on(self, event: ValueEvent, function: ValueCall[Result]) -> ValueCall[Result]: ...

    @overload
    def on(self, event: ValueEvent, function: None = None) -> Callable[[ValueListener], ValueListener]: ...

    @overload
    def on(self, event: Literal["failed"], function: FailureCall[Result]) -> FailureCall[Result]: ...

    @overload
    def on(self, event: Literal["failed"], function: None = None) -> Callable[[FailureListener], FailureListener]: ...

    @overload
    def on(self, event: Literal["cleaned"], function: CountCall[Result]) -> CountCall[Result]: ...

    @overload
    def on(self, event: Literal["cleaned"], function: None = None) -> Callable[[CountListener], CountListener]: ...

    @overload
    def on(self, event: PlainEvent, function: PlainCall[Result]) -> PlainCall[Result]: ...

    @overload
    def on(self, event: PlainEvent, function: None = None) -> Callable[[PlainListener], PlainListener]: ...

    @overload
    def on(self, event: Literal["error"], function: ErrorCall[Result]) -> ErrorCall[Result]: ...

    @overload
    def on(self, event: Literal["error"], function: None = None) -> Callable[[ErrorListener], ErrorListener]: ...

    def on(self, event: EventName, function: Any = None) -> Any:
        """Call ``function`` for each such event of the queue, from any process, in order; or as a decorator.

        ``completed(job, result)``, ``failed(job, error)``, ``progress(job, value)``, ``cleaned(count)``; with the job:
        ``waiting active delayed blocked stalled retries_exhausted duplicated removed``; with nothing: ``drained
        paused resumed``. In this process, ``drained`` is also emitted when its worker starts and finds nothing to do.
        ``error(error)`` reports faults in this process. The function may be ``async def``; it runs on a thread of its
        own, and does not delay others.

        >>> queue.on("failed", lambda job, error: print(job.id, error.reason))  # doctest: +SKIP
        """
        if function is None:
            return lambda decorated: self.on(event, decorated)
        self._events.on(event, function)
        return function

    @overload
    def once(self, event: JobEvent, function: JobCall[Result]) -> JobCall[Result]: ...

    @overload
    def once(self, event: JobEvent, function: None = None) -> Callable[[JobListener], JobListener]: ...

    @overload
    def once(self, event: ValueEvent, function: ValueCall[Result]) -> ValueCall[Result]: ...

    @overload
    def once(self, event: ValueEvent, function: None = None) -> Callable[[ValueListener], ValueListener]: ...

    @overload
    def once(self, event: Literal["failed"], function: FailureCall[Result]) -> FailureCall[Result]: ...

    @overload
    def once(self, event: Literal["failed"], function: None = None) -> Callable[[FailureListener], FailureListener]: ...

    @overload
    def once(self, event: Literal["cleaned"], function: CountCall[Result]) -> CountCall[Result]: ...

    @overload
    def once(self, event: Literal["cleaned"], function: None = None) -> Callable[[CountListener], CountListener]: ...

    @overload
    def once(self, event: PlainEvent, function: PlainCall[Result]) -> PlainCall[Result]: ...

    @overload
    def once(self, event: PlainEvent, function: None = None) -> Callable[[PlainListener], PlainListener]: ...

    @overload
    def once(self, event: Literal["error"], function: ErrorCall[Result]) -> ErrorCall[Result]: ...

    @overload
    def once(self, event: Literal["error"], function: None = None) -> Callable[[ErrorListener], ErrorListener]: ...

    def once(self, event: EventName, function: Any = None) -> Any:
        """As ``on``, for the first such event only."""
        if function is None:
            return lambda decorated: self.once(event, decorated)
        self._events.on(event, function, once=True)
        return function

    def off(self, event: EventName, function: Callable[..., object] | None = None) -> int:
        """Remove a listener, or all listeners of the event; return how many there were."""
        return self._events.off(event, function)


def _state(queue: str, name: str) -> State:
    try:
        return State("waiting" if name == "paused" else name)
    except ValueError:
        known = [state.value for state in State]
        hint = nearest(str(name), known, STATES)
        raise ConfigurationError(f"queue {queue!r}: unknown state {name!r}{hint}") from None
