"""Operations on many jobs of a queue: their documented methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from stratix_kombu.answer_types import JobCount
from stratix_kombu.config.options import Duration
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.arguments import plain_text
from stratix_kombu.model.finding import filter_of
from stratix_kombu.model.state import Action
from stratix_kombu.queue.chosen import Chosen, act_on, count_jobs, state_of
from stratix_kombu.queue.events import QueueEvents
from stratix_kombu.queue.housekeeping import Housekeeping, OnProgress
from stratix_kombu.queue.job import Job
from stratix_kombu.queue.reader import QueueReader

if TYPE_CHECKING:
    from stratix_kombu.types import CleanedState, DeadLetter, FindOpts, ListedState, Unpack


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
        self,
        state: Literal["failed"] = "failed",
        count: int = 0,
        on_progress: OnProgress | None = None,
        *,
        ids: Iterable[Job | str] | None = None,
        **options: Unpack[FindOpts],
    ) -> int:
        """Run failed jobs again, at most ``count`` (0 = no limit); return how many. All of them, oldest first; or those
        with these ``ids``; or with options as for ``find_jobs`` those that fit, newest first. Those that failed because
        of a dependency are named by their ids, or wait for it again when that is retried.

        >>> queue.retry_jobs(name="mail.*", reason="timed out")  # doctest: +SKIP
        """
        if ids is None and not options:
            return self._housekeeping.retry_jobs(state, count, on_progress)
        given = None if ids is not None and state == "failed" else state
        return self._act("retry_jobs", Action.RETRY, (ids, given, count), options, on_progress)

    def promote_jobs(
        self,
        count: int = 0,
        on_progress: OnProgress | None = None,
        *,
        ids: Iterable[Job | str] | None = None,
        **options: Unpack[FindOpts],
    ) -> int:
        """Run delayed jobs now, earliest first, at most ``count`` (0 = no limit); return how many. All of them, or
        those with these ``ids``, or that fit the options, as in ``retry_jobs``."""
        if ids is None and not options:
            return self._housekeeping.promote_jobs(count, on_progress)
        return self._act("promote_jobs", Action.PROMOTE, (ids, None, count), options, on_progress)

    def remove_jobs(
        self,
        state: ListedState | None = None,
        count: int = 0,
        on_progress: OnProgress | None = None,
        *,
        ids: Iterable[Job | str] | None = None,
        **options: Unpack[FindOpts],
    ) -> int:
        """Remove jobs that are not active, as ``job.remove`` does, at most ``count`` (0 = no limit); return how many.
        Those with these ``ids``, or those in a state that fit the options, as in ``retry_jobs``.

        >>> queue.remove_jobs("failed", name="mail.*")  # doctest: +SKIP
        """
        return self._act("remove_jobs", Action.REMOVE, (ids, state, count), options, on_progress)

    def cancel_jobs(
        self,
        state: ListedState | None = None,
        count: int = 0,
        on_progress: OnProgress | None = None,
        *,
        ids: Iterable[Job | str] | None = None,
        cancel_reason: str = "cancelled",
        **options: Unpack[FindOpts],
    ) -> int:
        """Cancel jobs that have not ended, as ``job.cancel`` does, at most ``count`` (0 = no limit); return how many.
        Those with these ``ids``, or those in a state that fit the options, as in ``retry_jobs``.

        >>> queue.cancel_jobs("waiting", name="import", cancel_reason="the source is down")  # doctest: +SKIP
        """
        reason = plain_text(cancel_reason, "cancel_jobs: 'cancel_reason'")
        return self._act("cancel_jobs", Action.CANCEL, (ids, state, count), options, on_progress, reason)

    def count_jobs(self, state: ListedState, cursor: str = "", **options: Unpack[FindOpts]) -> JobCount:
        """How many jobs are in a state and fit all options, as for ``find_jobs``. One call looks at no more than 10,000
        jobs: if there are more, the count is what was found so far, ``exact`` is false, and ``cursor`` is for counting
        on.

        >>> queue.count_jobs("failed", reason="timed out").count  # doctest: +SKIP
        """
        where = filter_of(options, "count_jobs")
        cursor = plain_text(cursor, "count_jobs: 'cursor'")
        return count_jobs(self._engine, self.name, state_of("count_jobs", state), where, cursor)

    def _act(
        self,
        verb: str,
        action: Action,
        which: tuple[Any, Any, int],
        options: Mapping[str, Any],
        on_progress: OnProgress | None,
        reason: str = "",
    ) -> int:
        given = dict(zip(("ids", "state", "count"), which, strict=True))
        return act_on(self._engine, self.name, action, Chosen.of(verb, action, given, options), on_progress, reason)

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
