"""The methods of a queue that touch many jobs at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from stratix_kombu.config.options import Duration, milliseconds, whole
from stratix_kombu.errors import ConfigurationError, nearest
from stratix_kombu.foreign import STATES
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.redrive import letter_of, redrive
from stratix_kombu.lifecycle.sweep import Extent, obliterate, sweep
from stratix_kombu.model.arguments import flag, plain_text
from stratix_kombu.model.awaiting import call
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.state import State, Sweep

if TYPE_CHECKING:
    from stratix_kombu.types import CleanedState, DeadLetter

_CLEANED = {
    "completed": State.COMPLETED,
    "failed": State.FAILED,
    "waiting": State.WAITING,
    "wait": State.WAITING,
    "paused": State.WAITING,
    "delayed": State.DELAYED,
    "blocked": State.BLOCKED,
}

_LETTERS = [State.WAITING, State.DELAYED]

OnProgress = Callable[[int], Any]


class Housekeeping:
    """Each goes page by page, and tells ``on_progress`` after each page how many jobs it has been so far. Functions
    that are given to them may be ``async def``, and are awaited on a loop of their own."""

    name: str
    _engine: Engine

    def drain(self, delayed: bool = False, on_progress: OnProgress | None = None) -> int:
        """Remove all jobs that wait (and those that are delayed); how many. Active ones go on.

        >>> queue.drain(delayed=True)  # doctest: +SKIP
        """
        states = [State.WAITING, State.DELAYED] if flag(delayed, "drain: 'delayed'") else [State.WAITING]
        return len(sweep(self._engine, self.name, Sweep.REMOVE, states, on_progress=on_progress))

    def clean(
        self,
        grace: Duration = 0,
        limit: int = 0,
        state: CleanedState = "completed",
        on_progress: OnProgress | None = None,
    ) -> list[str]:
        """Remove jobs of a state that ended, or for the others were added, at least ``grace`` ago (milliseconds or a
        timedelta), at most ``limit`` (0 = all), oldest first; their ids. Event ``cleaned`` with the count.

        >>> queue.clean(timedelta(days=7), state="failed")  # doctest: +SKIP
        """
        if plain_text(state, "clean: 'state'") not in _CLEANED:
            raise ConfigurationError(f"clean: unknown state {state!r}{nearest(str(state), _CLEANED, STATES)}")
        extent = Extent(whole(limit, "clean: 'limit'", 0, 10**9), milliseconds(grace, "clean: 'grace'"))
        return sweep(self._engine, self.name, Sweep.REMOVE, [_CLEANED[state]], extent, on_progress)

    def retry_jobs(
        self, state: Literal["failed"] = "failed", count: int = 0, on_progress: OnProgress | None = None
    ) -> int:
        """Run failed jobs again, oldest first, at most ``count`` (0 = all); how many."""
        if state != "failed":
            raise ConfigurationError(f"retry_jobs: only 'failed' jobs can be run again, not {state!r}")
        extent = Extent(whole(count, "retry_jobs: 'count'", 0, 10**9))
        return len(sweep(self._engine, self.name, Sweep.RETRY, [State.FAILED], extent, on_progress))

    def promote_jobs(self, count: int = 0, on_progress: OnProgress | None = None) -> int:
        """Run delayed jobs now, those that are due first, at most ``count`` (0 = all); how many."""
        extent = Extent(whole(count, "promote_jobs: 'count'", 0, 10**9))
        return len(sweep(self._engine, self.name, Sweep.PROMOTE, [State.DELAYED], extent, on_progress))

    def redrive(
        self,
        limit: int = 0,
        filter: Callable[[DeadLetter], object] | None = None,
        on_progress: OnProgress | None = None,
    ) -> int:
        """Send the letters that wait in this queue back to where their jobs came from, oldest first, at most ``limit``
        (0 = all); how many. ``filter`` is asked with each letter: ``id``, ``queue``, ``name``, ``data``, ``reason``,
        ``attempts``. What is no letter stays.

        >>> app.queue.get_queue("dead").redrive(filter=lambda letter: "timeout" in letter["reason"])  # doctest: +SKIP
        """
        most = whole(limit, "redrive: 'limit'", 0, 10**9) or 10**9
        count, begun_ms = 0, self._engine.store.queries.now()
        for page in self._letters():
            # Those that come meanwhile are of jobs that have failed again.
            old = [(record, letter_of(record.data)) for record in page if record.created_ms <= begun_ms]
            letters = [(record, letter) for record, letter in old if letter is not None]
            chosen = [one for one in letters if filter is None or call(filter, one[1])]
            before = count
            for record, letter in chosen:
                if count == most:
                    break
                count += redrive(self._engine, record, letter)
            if on_progress is not None and count > before:
                call(on_progress, count)
            if count >= most:
                break
        return count

    def _letters(self) -> Iterator[list[JobRecord]]:
        for state in _LETTERS:
            cursor = ""
            while True:
                page, cursor = self._engine.store.queries.scan(self.name, state, cursor)
                yield page
                if not cursor:
                    break

    def obliterate(self, force: bool = False, on_progress: OnProgress | None = None) -> int:
        """Remove the queue with all its jobs, events and messages; how many jobs. Its repeatable jobs stay.

        Raises QueueNotEmpty while jobs are active, unless ``force``: then what they return is refused.
        """
        return obliterate(self._engine, self.name, flag(force, "obliterate: 'force'"), on_progress)
