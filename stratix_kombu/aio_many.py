"""What a queue does to many of its jobs, for asyncio: see ``aio.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from stratix_kombu.hints import Hinted

if TYPE_CHECKING:
    from stratix_kombu.calls import Calls
    from stratix_kombu.queue.housekeeping import OnProgress
    from stratix_kombu.queue.job import Job
    from stratix_kombu.queue.queue import Queue
    from stratix_kombu.types import CleanedState, DeadLetter, Duration, FindOpts, JobCount, ListedState, Unpack


class AsyncManyJobs(Hinted):
    """The methods of ``ManyJobs`` as coroutines."""

    def __init__(self, queue: Queue, calls: Calls) -> None:
        self._queue = queue
        self._calls = calls
        self._call = calls.run

    async def drain(self, delayed: bool = False, on_progress: OnProgress | None = None) -> int:
        return await self._call(self._queue.drain, delayed, on_progress)

    async def clean(
        self,
        grace: Duration = 0,
        limit: int = 0,
        state: CleanedState = "completed",
        on_progress: OnProgress | None = None,
    ) -> list[str]:
        return await self._call(self._queue.clean, grace, limit, state, on_progress)

    async def retry_jobs(
        self,
        state: Literal["failed"] = "failed",
        count: int = 0,
        on_progress: OnProgress | None = None,
        *,
        ids: Iterable[Job | str] | None = None,
        **options: Unpack[FindOpts],
    ) -> int:
        return await self._call(self._queue.retry_jobs, state, count, on_progress, ids=ids, **options)

    async def promote_jobs(
        self,
        count: int = 0,
        on_progress: OnProgress | None = None,
        *,
        ids: Iterable[Job | str] | None = None,
        **options: Unpack[FindOpts],
    ) -> int:
        return await self._call(self._queue.promote_jobs, count, on_progress, ids=ids, **options)

    async def remove_jobs(
        self,
        state: ListedState | None = None,
        count: int = 0,
        on_progress: OnProgress | None = None,
        *,
        ids: Iterable[Job | str] | None = None,
        **options: Unpack[FindOpts],
    ) -> int:
        return await self._call(self._queue.remove_jobs, state, count, on_progress, ids=ids, **options)

    async def cancel_jobs(
        self,
        state: ListedState | None = None,
        count: int = 0,
        on_progress: OnProgress | None = None,
        *,
        ids: Iterable[Job | str] | None = None,
        cancel_reason: str = "cancelled",
        **options: Unpack[FindOpts],
    ) -> int:
        more = {"ids": ids, "cancel_reason": cancel_reason}
        return await self._call(self._queue.cancel_jobs, state, count, on_progress, **more, **options)

    async def count_jobs(self, state: ListedState, cursor: str = "", **options: Unpack[FindOpts]) -> JobCount:
        return await self._call(self._queue.count_jobs, state, cursor, **options)

    async def redrive(
        self,
        limit: int = 0,
        filter: Callable[[DeadLetter], object] | None = None,
        on_progress: OnProgress | None = None,
    ) -> int:
        return await self._call(self._queue.redrive, limit, filter, on_progress)

    async def obliterate(self, force: bool = False, on_progress: OnProgress | None = None) -> int:
        return await self._call(self._queue.obliterate, force, on_progress)
