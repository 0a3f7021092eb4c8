"""The same calls for asyncio: in threads. Jobs added in one turn of a loop share a call, and waiting occupies no
thread."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from stratix_kombu.adding import Adding, add_each
from stratix_kombu.aio_many import AsyncManyJobs
from stratix_kombu.feed import events_of
from stratix_kombu.foreign import FLOW, JOB, MANAGER, QUEUE
from stratix_kombu.hints import Hinted
from stratix_kombu.model.arguments import many, seconds
from stratix_kombu.model.flow_plan import plan
from stratix_kombu.model.tasks import is_task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from stratix_kombu.calls import Calls
    from stratix_kombu.model.attempts import Attempt
    from stratix_kombu.model.event import Event
    from stratix_kombu.model.metrics import QueueMetrics
    from stratix_kombu.model.overview import QueueOverview
    from stratix_kombu.model.record import Ended, JobRecord, QueueStatus, WorkerInfo
    from stratix_kombu.model.workers import WorkerProcess
    from stratix_kombu.queue.flow import Flow
    from stratix_kombu.queue.job import Job
    from stratix_kombu.queue.manager import QueueManager
    from stratix_kombu.queue.repeatables import RepeatableJob
    from stratix_kombu.types import (
        BulkJob,
        DeadLetter,
        Duration,
        FindOpts,
        FlowPage,
        GraphNode,
        JobOpts,
        JobPage,
        JobState,
        LimiterOpts,
        ListedState,
        ReasonPage,
        RepeatOpts,
        RepeatSelection,
        RepeatTemplate,
        SchedulerRule,
        ScheduleRun,
        Task,
        TreeNode,
        Unpack,
    )


def is_of_asyncio(connection: Any) -> bool:
    """Whether it is a connection whose own methods are coroutines."""
    return asyncio.iscoroutinefunction(getattr(connection, "execute", None)) and not hasattr(connection, "run_sync")


class AsyncJob(Hinted):
    """``job.aio``: the methods of a Job as coroutines."""

    _foreign, _mirrored = JOB, "_job"

    def __init__(self, job: Job, calls: Calls) -> None:
        self._job = job
        self._call = calls.run

    async def get_state(self) -> JobState:
        return await self._call(self._job.get_state)

    async def refresh(self) -> Job:
        return await self._call(self._job.refresh)

    async def wait_until_finished(self, timeout: float | timedelta | None = None) -> Any:
        patience = seconds(timeout, "wait_until_finished: 'timeout'")
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[JobRecord | Ended] = loop.create_future()

        def set_outcome(outcome: JobRecord | Ended | BaseException) -> None:
            if ended.done():
                return
            if isinstance(outcome, BaseException):
                ended.set_exception(outcome)
            else:
                ended.set_result(outcome)

        def resolve(outcome: JobRecord | Ended | BaseException) -> None:
            with suppress(RuntimeError):  # the loop was closed: nothing waits there any more
                loop.call_soon_threadsafe(set_outcome, outcome)

        hub = self._job._hub
        try:
            await self._call(hub.subscribe, self._job.id, resolve)
            return self._job._finished(await asyncio.wait_for(ended, patience))
        except asyncio.TimeoutError as problem:
            raise await self._call(hub.timed_out, self._job.id, patience or 0.0) from problem
        finally:
            hub.unsubscribe(self._job.id, resolve)

    async def get_logs(self, start: int = 0, end: int = -1) -> list[str]:
        return await self._call(self._job.get_logs, start, end)

    async def get_attempts(self) -> list[Attempt]:
        return await self._call(self._job.get_attempts)

    async def get_dependencies(self) -> list[Job]:
        return await self._call(self._job.get_dependencies)

    async def get_dependency_states(self) -> dict[str, JobState | None]:
        return await self._call(self._job.get_dependency_states)

    async def get_dependents(self) -> list[Job]:
        return await self._call(self._job.get_dependents)

    async def get_dependency_results(self) -> dict[str, Any]:
        return await self._call(self._job.get_dependency_results)

    async def update_progress(self, value: Any) -> None:
        await self._call(self._job.update_progress, value)

    async def log(self, line: str) -> int:
        return await self._call(self._job.log, line)

    async def update_data(self, data: Any) -> None:
        await self._call(self._job.update_data, data)

    async def retry(self) -> None:
        await self._call(self._job.retry)

    async def rerun(self, dependents: bool = False) -> None:
        await self._call(self._job.rerun, dependents)

    async def promote(self) -> None:
        await self._call(self._job.promote)

    async def change_delay(self, delay: Duration) -> None:
        await self._call(self._job.change_delay, delay)

    async def change_priority(self, priority: int) -> None:
        await self._call(self._job.change_priority, priority)

    async def remove(self) -> None:
        await self._call(self._job.remove)

    async def cancel(self, reason: str = "cancelled") -> None:
        await self._call(self._job.cancel, reason)

    async def add_dependency(self, job: Job | str) -> None:
        await self._call(self._job.add_dependency, job)

    async def remove_dependency(self, job: Job | str) -> None:
        await self._call(self._job.remove_dependency, job)

    async def complete_in(self, connection: Any, result: Any = None) -> None:
        if is_of_asyncio(connection):
            await self._job._complete_by(connection, result)
        elif hasattr(connection, "run_sync"):
            await connection.run_sync(lambda plain: self._job.complete_in(plain, result))
        else:
            await self._call(self._job.complete_in, connection, result)


class AsyncFlow(Hinted):
    """``flow.aio``: the methods of a Flow that talk to a server, as coroutines."""

    _foreign, _mirrored = FLOW, "_flow"

    def __init__(self, flow: Flow, calls: Calls) -> None:
        self._flow = flow
        self._call = calls.run

    async def counts(self) -> dict[str, int]:
        return await self._call(self._flow.counts)


class AsyncQueue(AsyncManyJobs):
    """``queue.aio``: the methods of a Queue that talk to a server, as coroutines."""

    _foreign, _mirrored = QUEUE, "_queue"

    async def add(
        self,
        name: str | Task,
        data: Any = None,
        opts: JobOpts | None = None,
        *,
        connection: Any = None,
        **options: Unpack[JobOpts],
    ) -> Job:
        if connection is not None:
            if is_of_asyncio(connection):
                new = self._queue.to_add(name, data, opts, options)
                return (await self._queue.add_by([new], connection))[0]
            return await self._by(connection, self._queue.add, name, data, opts, **options)  # type: ignore[no-any-return]
        # A Celery task is published by code of Celery and the user, which may take long; and middleware is called in
        # the context of the asyncio task that adds.
        if is_task(name) or self._queue._engine.middleware.add:
            return await self._call(self._queue.add, name, data, opts, **options)
        return await self._calls.together(add_each, Adding(self._queue, name, data, opts, options))

    async def add_bulk(self, jobs: Iterable[BulkJob], *, connection: Any = None) -> list[Job]:
        jobs = many(jobs)  # a generator belongs to the thread that calls
        if connection is None:
            return await self._call(self._queue.add_bulk, jobs)
        if is_of_asyncio(connection):
            return await self._queue.add_by(self._queue.new_jobs(jobs), connection)
        return await self._by(connection, self._queue.add_bulk, jobs)  # type: ignore[no-any-return]

    async def _by(self, connection: Any, add: Any, *arguments: Any, **options: Any) -> Any:
        """Add within the transaction of a session or connection: of SQLAlchemy's for asyncio, or a plain one."""
        if hasattr(connection, "run_sync"):
            return await connection.run_sync(lambda plain: add(*arguments, connection=plain, **options))
        return await self._call(partial(add, *arguments, connection=connection, **options))

    async def add_repeatable_job(
        self, name: str | Task, data: Any = None, opts: RepeatOpts | None = None, **options: Unpack[RepeatOpts]
    ) -> RepeatableJob:
        return await self._call(self._queue.add_repeatable_job, name, data, opts, **options)

    async def upsert_job_scheduler(
        self, key: str, repeat: SchedulerRule, template: RepeatTemplate | None = None
    ) -> RepeatableJob:
        return await self._call(self._queue.upsert_job_scheduler, key, repeat, template)

    async def get_repeatable_jobs(self) -> list[RepeatableJob]:
        return await self._call(self._queue.get_repeatable_jobs)

    async def get_schedule_runs(self, key: str, limit: int = 10) -> list[ScheduleRun]:
        return await self._call(self._queue.get_schedule_runs, key, limit)

    async def remove_repeatable_job(
        self, opts: RepeatSelection | RepeatableJob | None = None, **options: Unpack[RepeatSelection]
    ) -> bool:
        return await self._call(self._queue.remove_repeatable_job, opts, **options)

    async def pause_repeatable_job(self, key: str) -> None:
        await self._call(self._queue.pause_repeatable_job, key)

    async def resume_repeatable_job(self, key: str) -> None:
        await self._call(self._queue.resume_repeatable_job, key)

    async def run_repeatable_job(self, key: str) -> Job:
        return await self._call(self._queue.run_repeatable_job, key)

    async def get_job(self, job_id: str) -> Job | None:
        return await self._call(self._queue.get_job, job_id)

    async def get_jobs(
        self, states: ListedState | Collection[ListedState] = (), start: int = 0, end: int | None = None
    ) -> list[Job]:
        return await self._call(self._queue.get_jobs, states, start, end)

    async def find_jobs(
        self, state: ListedState, cursor: str = "", limit: int = 100, **options: Unpack[FindOpts]
    ) -> JobPage:
        return await self._call(self._queue.find_jobs, state, cursor, limit, **options)

    async def get_failure_reasons(self, cursor: str = "", limit: int = 1000) -> ReasonPage:
        return await self._call(self._queue.get_failure_reasons, cursor, limit)

    async def get_letter_reasons(self, cursor: str = "", limit: int = 1000) -> ReasonPage:
        return await self._call(self._queue.get_letter_reasons, cursor, limit)

    async def get_job_counts(self) -> dict[str, int]:
        return await self._call(self._queue.get_job_counts)

    async def get_status(self) -> QueueStatus:
        return await self._call(self._queue.get_status)

    async def get_metrics(
        self, minutes: int | None = None, *, hours: int | None = None, name: str | None = None
    ) -> QueueMetrics:
        return await self._call(self._queue.get_metrics, minutes, hours=hours, name=name)

    async def get_metric_names(self) -> list[str]:
        return await self._call(self._queue.get_metric_names)

    async def get_workers(self) -> list[WorkerInfo]:
        return await self._call(self._queue.get_workers)

    async def pause(self) -> None:
        await self._call(self._queue.pause)

    async def resume(self) -> None:
        await self._call(self._queue.resume)

    async def is_paused(self) -> bool:
        return await self._call(self._queue.is_paused)

    async def get_dead_letters(self, start: int = 0, end: int | None = None) -> list[DeadLetter]:
        return await self._call(self._queue.get_dead_letters, start, end)

    async def get_events(self, after: str = "", limit: int = 1000, wait: float | timedelta = 0) -> list[Event]:
        return await self._call(self._queue.get_events, after, limit, wait)

    async def events(self, after: str | None = None) -> AsyncGenerator[Event, None]:
        """Events as they come, until the application is closed: from now on, or first those after the cursor of an
        event (``""``: from the oldest that is kept). Raises EventsMissed to who is too slow.

        >>> async for event in queue.aio.events():  # doctest: +SKIP
        ...     print(event.name, event.job_id)
        """
        async for event in events_of(self._queue, after):
            yield event

    async def set_rate_limit(self, limiter: LimiterOpts | None = None, **options: Unpack[LimiterOpts]) -> None:
        await self._call(self._queue.set_rate_limit, limiter, **options)

    async def get_rate_limit(self) -> LimiterOpts | None:
        return await self._call(self._queue.get_rate_limit)

    async def get_global_concurrency(self) -> int | None:
        return await self._call(self._queue.get_global_concurrency)

    async def get_rate_limit_ttl(self) -> int:
        return await self._call(self._queue.get_rate_limit_ttl)

    async def hold(self, duration: Duration) -> None:
        await self._call(self._queue.hold, duration)

    async def set_global_concurrency(self, most: int | None) -> None:
        await self._call(self._queue.set_global_concurrency, most)

    async def close(self, timeout: float | timedelta | None = None) -> bool:
        return await self._call(self._queue.close, timeout)


class AsyncQueueManager(Hinted):
    """``app.queue.aio``: the methods of ``app.queue`` that talk to a server, as coroutines."""

    _foreign, _mirrored = MANAGER, "_manager"

    def __init__(self, manager: QueueManager, calls: Calls) -> None:
        self._manager = manager
        self._call = calls.run

    async def emit(self, event: str, *data: Any) -> None:
        await self._call(self._manager.emit, event, *data)

    async def get_queue_names(self) -> list[str]:
        return await self._call(self._manager.get_queue_names)

    async def get_job(self, job_id: str) -> Job | None:
        return await self._call(self._manager.get_job, job_id)

    async def get_overview(self, minutes: int = 60) -> list[QueueOverview]:
        return await self._call(self._manager.get_overview, minutes)

    async def get_repeatable_jobs(self) -> list[RepeatableJob]:
        return await self._call(self._manager.get_repeatable_jobs)

    async def get_flows(self, cursor: str = "", limit: int = 100) -> FlowPage:
        return await self._call(self._manager.get_flows, cursor, limit)

    async def get_workers(self) -> list[WorkerProcess]:
        return await self._call(self._manager.get_workers)

    async def get_worker_jobs(self, worker_id: str, limit: int = 100) -> list[Job]:
        return await self._call(self._manager.get_worker_jobs, worker_id, limit)

    async def add_flow(self, flow: TreeNode | Sequence[GraphNode] | Iterator[GraphNode]) -> Flow:
        planned: Any = plan(flow)  # a generator belongs to the thread that calls
        return await self._call(self._manager.add_flow, planned)

    async def get_flow(self, job: Job | str) -> Flow | None:
        return await self._call(self._manager.get_flow, job)

    async def add_canvas(self, signature: Any) -> Flow:
        return await self._call(self._manager.add_canvas, signature)

    async def check_health(self) -> dict[str, bool]:
        return await self._call(self._manager.check_health)

    async def close_all(self, timeout: float | timedelta | None = None) -> bool:
        return await self._call(self._manager.close_all, timeout)
