"""Operations on many jobs of a queue: their documented methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from stratix_kombu.config.options import Duration
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.queue.events import QueueEvents
from stratix_kombu.queue.housekeeping import Housekeeping, OnProgress
from stratix_kombu.queue.reader import QueueReader

if TYPE_CHECKING:
    from stratix_kombu.types import CleanedState, DeadLetter


class ManyJobs(QueueReader):
    """What a queue does to many of its jobs at once, page by page. ``on_progress`` is called after each page with the
    number of jobs so far."""

    def __init__(self, name: str, engine: Engine, events: QueueEvents) -> None:
        super().__init__(name, engine, events)
        self._housekeeping = Housekeeping(engine, name)

    def drain(self, delayed: bool = False, on_progress: OnProgress | None = None) -> int:
        """Remove all waiting jobs (with ``delayed`` also delayed ones); return how many. Active jobs are not affected.

        >>> queue.drain(delayed=True)  # doctest: +SKIP
        """
        return self._housekeeping.drain(delayed, on_progress)

    def clean(
        self,
        grace: Duration = 0,
        limit: int = 0,
        state: CleanedState = "completed",
        on_progress: OnProgress | None = None,
    ) -> list[str]:
        """Remove jobs of a state, oldest first, at most ``limit`` (0 = no limit): finished jobs that finished, other
        jobs that were added, at least ``grace`` ago (milliseconds or a timedelta). Returns their ids, and emits
        ``cleaned`` with the count.

        >>> queue.clean(timedelta(days=7), state="failed")  # doctest: +SKIP
        """
        return self._housekeeping.clean(grace, limit, state, on_progress)

    def retry_jobs(
        self, state: Literal["failed"] = "failed", count: int = 0, on_progress: OnProgress | None = None
    ) -> int:
        """Run failed jobs again, oldest first, at most ``count`` (0 = no limit); return how many."""
        return self._housekeeping.retry_jobs(state, count, on_progress)

    def promote_jobs(self, count: int = 0, on_progress: OnProgress | None = None) -> int:
        """Run delayed jobs now, earliest first, at most ``count`` (0 = no limit); return how many."""
        return self._housekeeping.promote_jobs(count, on_progress)

    def redrive(
        self,
        limit: int = 0,
        filter: Callable[[DeadLetter], object] | None = None,
        on_progress: OnProgress | None = None,
    ) -> int:
        """Send the letters waiting in this queue back to the queues of their jobs, oldest first, at most ``limit`` (0 =
        no limit); return how many. ``filter`` is called with each letter: ``id``, ``queue``, ``name``, ``data``,
        ``reason``, ``attempts``. Jobs that are not letters stay.

        >>> app.queue.get_queue("dead").redrive(filter=lambda letter: "timeout" in letter["reason"])  # doctest: +SKIP
        """
        return self._housekeeping.redrive(limit, filter, on_progress)

    def obliterate(self, force: bool = False, on_progress: OnProgress | None = None) -> int:
        """Remove the queue with all its jobs, events and messages; return the number of jobs. Its repeatable jobs stay.
        Raises QueueNotEmpty while jobs are active, unless ``force``: then their results are rejected."""
        return self._housekeeping.obliterate(force, on_progress)
