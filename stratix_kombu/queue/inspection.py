"""The methods of a queue that look at it and its jobs; nothing changes."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from stratix_kombu.config.options import whole
from stratix_kombu.errors import ConfigurationError, nearest
from stratix_kombu.foreign import STATES
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.redrive import letter_of
from stratix_kombu.model.arguments import plain_text, position, seconds
from stratix_kombu.model.event import Event
from stratix_kombu.model.metrics import KEPT_MINUTES, QueueMetrics
from stratix_kombu.model.names import check_known_id
from stratix_kombu.model.record import JobRecord, QueueStatus, WorkerInfo
from stratix_kombu.model.state import State
from stratix_kombu.queue.job import Job, Runtime
from stratix_kombu.queue.repeatables import RepeatableJob, repeatables_of
from stratix_kombu.stores.contract import FOUND_AT_ONCE

if TYPE_CHECKING:
    from stratix_kombu.queue.queue import Queue
    from stratix_kombu.types import DeadLetter, ListedState

MAX_EVENTS = 100_000
READ_WAIT_S = 0.25
"""One question to the store waits at most so long for events."""


class Overview(ABC):
    """What can be read of all queues of the namespace, whichever program made them."""

    @property
    @abstractmethod
    def engine(self) -> Engine: ...

    @abstractmethod
    def get_queue(self, name: str) -> Queue: ...

    @property
    def shared(self) -> bool:
        """Whether other processes see the same jobs."""
        return self.engine.store.shared and self.engine.driver.capabilities.shared

    def get_queue_names(self) -> list[str]:
        """Names of all queues that had a job or a worker, sorted. One that nobody has used for a day is forgotten: it
        has no job, worker, repeatable job, pause, limit or bound, and no event.

        >>> app.queue.get_queue_names()  # doctest: +SKIP
        ['emails', 'reports']
        """
        return self.engine.store.queries.queues()

    def get_job(self, job_id: str) -> Job | None:
        """The job with that id, of whatever queue, or None."""
        (record,) = self.engine.store.queries.get([check_known_id(job_id)])
        return self.get_queue(record.queue).handle(record) if record else None

    def get_repeatable_jobs(self) -> list[RepeatableJob]:
        """The repeatable jobs of all queues, sorted by queue and key.

        >>> [one.key for one in app.queue.get_repeatable_jobs() if one.paused]  # doctest: +SKIP
        """
        found = self.engine.store.schedules.all()
        return list(repeatables_of(sorted(found, key=lambda one: (one.queue, one.key))))


class Inspection:
    """What can be read of a queue, from any process."""

    name: str
    _engine: Engine
    _runtime: Runtime

    def get_job(self, job_id: str) -> Job | None:
        """The job with that id, or None."""
        (record,) = self._engine.store.queries.get([check_known_id(job_id)])
        return Job(record, self._runtime) if record and record.queue == self.name else None

    def get_jobs(
        self, states: ListedState | Collection[ListedState] = (), start: int = 0, end: int | None = None
    ) -> list[Job]:
        """Jobs in the given states (all, if none is named), ``start`` to ``end`` inclusive, negative from the end.
        Without ``end`` at most 1,000 of them; ``end=-1`` reads all, in pages of so many, not at one instant.

        Waiting jobs come in the order of dispatch, delayed ones by due time, finished ones newest first.

        >>> queue.get_jobs(["failed"], 0, 9)  # doctest: +SKIP
        """
        if not isinstance(states, Collection):
            raise ConfigurationError(f"get_jobs: 'states' must be a state or a list of states, not {states!r}")
        start = position(start, "get_jobs: 'start'")
        end = None if end is None else position(end, "get_jobs: 'end'")
        names = [states] if isinstance(states, str) else list(states)
        wanted = list(dict.fromkeys([_state(self.name, one) for one in names] or State))
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
        """How many jobs are in the states together."""
        counts = self._engine.store.queries.status(self.name).counts
        return sum(counts[state.value] for state in states) + (counts["paused"] if State.WAITING in states else 0)

    def get_job_counts(self) -> dict[str, int]:
        """How many jobs are in each state; while the queue is paused, waiting ones count as ``paused``."""
        return self.get_status().counts

    def get_status(self) -> QueueStatus:
        """Counts, whether it is paused, workers, and the age in milliseconds of the oldest waiting job."""
        return self._engine.store.queries.status(self.name)

    def get_metrics(self, minutes: int = 60) -> QueueMetrics:
        """What happened in the last minutes (1 to 1440; the current one is the last): how jobs and attempts ended; how
        long they waited and ran, with count, sum and percentiles in milliseconds. A percentile is exact below 16 ms,
        and at most 6.25 % off above. Raises ConfigurationError, StoreUnavailable.

        >>> queue.get_metrics(minutes=5).total.run.p95_ms  # doctest: +SKIP
        """
        whole(minutes, "get_metrics: 'minutes'", 1, KEPT_MINUTES)
        return QueueMetrics.of(self.name, self._engine.store.queries.metrics(self.name, minutes))

    def get_workers(self) -> list[WorkerInfo]:
        """Workers that take jobs of this queue, in all processes."""
        return self._engine.store.queries.workers(self.name)

    def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return self.get_status().paused

    def get_dead_letters(self, start: int = 0, end: int | None = None) -> list[DeadLetter]:
        """Those of the waiting jobs ``start`` to ``end`` (as ``get_jobs``) that are letters, oldest first: ``id``,
        ``queue``, ``name``, ``data``, ``options``, ``reason``, ``attempts`` and ``max_attempts`` of the job each tells
        of. See ``redrive``.

        >>> [letter["reason"] for letter in app.queue.get_queue("dead").get_dead_letters()]  # doctest: +SKIP
        """
        start = position(start, "get_dead_letters: 'start'")
        end = None if end is None else position(end, "get_dead_letters: 'end'")
        found = self._find([State.WAITING, State.DELAYED], start, end)
        letters = (letter_of(record.data) for record in found)
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
            found = self._engine.store.events.read(self.name, after or "0", limit, round(left * 1000))
            if found or not left:
                return found


def _state(queue: str, name: str) -> State:
    try:
        return State("waiting" if name == "paused" else name)
    except ValueError:
        known = [state.value for state in State]
        hint = nearest(str(name), known, STATES)
        raise ConfigurationError(f"queue {queue!r}: unknown state {name!r}{hint}") from None
