"""Operations on many jobs of a queue."""

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
    """Operations on many jobs of one queue; see the methods of ``Queue``. Each works page by page, and calls
    ``on_progress`` after each page with the number of jobs processed so far. Functions passed to them may be ``async
    def``, and are awaited on a loop of their own."""

    def __init__(self, engine: Engine, queue: str) -> None:
        self._engine = engine
        self._queue = queue

    def drain(self, delayed: bool = False, on_progress: OnProgress | None = None) -> int:
        states = [State.WAITING, State.DELAYED] if flag(delayed, "drain: 'delayed'") else [State.WAITING]
        return len(sweep(self._engine, self._queue, Sweep.REMOVE, states, on_progress=on_progress))

    def clean(
        self,
        grace: Duration = 0,
        limit: int = 0,
        state: CleanedState = "completed",
        on_progress: OnProgress | None = None,
    ) -> list[str]:
        if plain_text(state, "clean: 'state'") not in _CLEANED:
            raise ConfigurationError(f"clean: unknown state {state!r}{nearest(str(state), _CLEANED, STATES)}")
        extent = Extent(whole(limit, "clean: 'limit'", 0, 10**9), milliseconds(grace, "clean: 'grace'"))
        return sweep(self._engine, self._queue, Sweep.REMOVE, [_CLEANED[state]], extent, on_progress)

    def retry_jobs(
        self, state: Literal["failed"] = "failed", count: int = 0, on_progress: OnProgress | None = None
    ) -> int:
        if state != "failed":
            raise ConfigurationError(f"retry_jobs: only 'failed' jobs can be run again, not {state!r}")
        extent = Extent(whole(count, "retry_jobs: 'count'", 0, 10**9))
        return len(sweep(self._engine, self._queue, Sweep.RETRY, [State.FAILED], extent, on_progress))

    def promote_jobs(self, count: int = 0, on_progress: OnProgress | None = None) -> int:
        extent = Extent(whole(count, "promote_jobs: 'count'", 0, 10**9))
        return len(sweep(self._engine, self._queue, Sweep.PROMOTE, [State.DELAYED], extent, on_progress))

    def redrive(
        self,
        limit: int = 0,
        filter: Callable[[DeadLetter], object] | None = None,
        on_progress: OnProgress | None = None,
    ) -> int:
        most = whole(limit, "redrive: 'limit'", 0, 10**9) or 10**9
        count, begun_ms = 0, self._engine.store.queries.now()
        for page in self._letters():
            # Letters added meanwhile are of jobs that have failed again.
            old = [(record, letter_of(record.data)) for record in page if record.created_ms <= begun_ms]
            letters = [(record, letter) for record, letter in old if letter is not None]
            chosen = [pair for pair in letters if filter is None or call(filter, pair[1])]
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
                page, cursor = self._engine.store.queries.scan(self._queue, state, cursor)
                yield page
                if not cursor:
                    break

    def obliterate(self, force: bool = False, on_progress: OnProgress | None = None) -> int:
        return obliterate(self._engine, self._queue, flag(force, "obliterate: 'force'"), on_progress)
