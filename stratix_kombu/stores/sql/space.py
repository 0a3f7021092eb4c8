"""A namespace over tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stratix_kombu.model.event import INLINE_RESULT_BYTES
from stratix_kombu.model.names import incarnation
from stratix_kombu.model.record import Ended
from stratix_kombu.model.state import State
from stratix_kombu.stores.memory.graph import Edge
from stratix_kombu.stores.memory.runs import end_run
from stratix_kombu.stores.memory.state import EVENTS_KEPT, Job, Space
from stratix_kombu.stores.sql.attempts import SqlAttempts
from stratix_kombu.stores.sql.counting import ADDED_EVERY, add_observed
from stratix_kombu.stores.sql.database import Counters, Database, Transactions
from stratix_kombu.stores.sql.edges import Dependents, Outcomes, Roots, Worklist
from stratix_kombu.stores.sql.jobs import Jobs
from stratix_kombu.stores.sql.leader import SqlLeader
from stratix_kombu.stores.sql.limits import Limits
from stratix_kombu.stores.sql.outgoing import Outgoing
from stratix_kombu.stores.sql.queues import Queues
from stratix_kombu.stores.sql.tables import Deduplicated, EndedJobs, Locks, PresenceTable, ScheduleTable

SMALL_BYTES = 10_000
"""The data of a job, so that many can be read before they are needed."""
TRIMMED_EVERY = 100
"""Events that a log drops are deleted when it has so many."""


class SqlSpace(Space):
    """``lock`` is the transaction: it begins when the lock is taken first, and is committed when it is given back last;
    what the moves have changed is written then."""

    def __init__(self, db: Transactions, clock: Callable[[], int]) -> None:
        super().__init__(clock)
        self.db = db
        self.lock: Any = db
        self.looked_at = ""
        """The last queue of which was looked whether it is used."""
        self.reading = db.reading
        self.changes, self.wait, self.ring = db.changes, db.wait, db.ring
        self.clock_ms = self.observed = 0
        self.ready: Outgoing = Outgoing(self)
        self._counters = Counters()
        self._events: list[tuple[Any, ...]] = []
        self._same = False
        self._wall = clock
        self.now = self._now
        self.jobs: Any = Jobs(db)
        self.attempts = SqlAttempts(db)
        self.outcomes: Any = Outcomes(db)
        self.dependents: Any = Dependents(db, self.jobs, self.outcomes)
        self.roots: Any = Roots(db)
        self.releasing: Any = Worklist(db, "releasing")
        self.reviving: Any = Worklist(db, "reviving")
        self.queues: Any = Queues(self)
        self.ended: Any = EndedJobs(db)
        self.limits: Any = Limits(db)
        self.schedules: Any = ScheduleTable(db)
        self.locks: Any = Locks(db)
        self.present: Any = PresenceTable(db)
        self.deduplicated: Any = Deduplicated(db)
        self.leader: Any = SqlLeader(db)

    def _now(self) -> int:
        """The host's clock, but never less than what it was before: other processes may have seen that."""
        return self.step_ms or max(self._wall(), self.clock_ms)

    def time_of(self, db: Database) -> int:
        """The time, for who reads."""
        seen_ms = db.counters().clock_ms
        return max(self._wall(), seen_ms)

    def stands_still_ms(self, db: Database) -> int:
        """See ``Queries.stands_still_ms``."""
        seen_ms = db.counters().clock_ms
        return max(seen_ms - self._wall(), 0)

    # -- a step ---------------------------------------------------------------------------------

    def begin(self, same: bool) -> None:
        """The transaction has begun; ``same``: what the last one has read and written is as it was."""
        self._same = same
        if not same:
            counters = self._counters = self.db.counters()
            self.numbers, self.events, self.sweeps, self.delays, self.jobs.moves, self.observed, self.clock_ms = (
                counters
            )
            self.leader.forget()
        for one in (self.jobs, self.queues, self.limits, self.outcomes, self.releasing, self.reviving):
            one.begin(same)
        self._events.clear()
        self.ready.begin()

    def flush(self) -> bool:
        """Write what the moves have changed; whether it was anything. The transaction is about to be committed."""
        now = self.now()
        self.jobs.flush()
        self.queues.flush()
        self.limits.flush(now)
        self.leader.flush()
        self._write_events()
        self.ready.flush()
        observed = [(self.observed + n, *one) for n, one in enumerate(self.queues.observed(), 1)]
        if observed:
            self.db.many("INSERT INTO observed (number, queue, what) VALUES (?, ?, ?)", observed)
            self.observed, before = observed[-1][0], self.observed
            if self.observed // ADDED_EVERY > before // ADDED_EVERY:
                add_observed(self.db)
        counters = (self.numbers, self.events, self.sweeps, self.delays, self.jobs.moves, self.observed)
        if counters != self._counters[:-1]:
            self.clock_ms = now
            self._counters = Counters(*counters, now)
            self.db.count(self._counters)
        self.delayed.clear()
        self.expiring.clear()
        return True

    def _write_events(self) -> None:
        if not self._events:
            return
        sql = "INSERT INTO events (queue, number, name, job, job_name, at_ms, value) VALUES (?, ?, ?, ?, ?, ?, ?)"
        self.db.many(sql, self._events)
        ends = {queue: (number, count) for count, (queue, number, *_) in enumerate(self._events, 1)}
        for queue, (last, count) in ends.items():
            if last // TRIMMED_EVERY > (last - count) // TRIMMED_EVERY:
                self.db.put("DELETE FROM events WHERE queue = ? AND number <= ?", queue, last - EVENTS_KEPT)
        self._events.clear()

    # -- what is due -----------------------------------------------------------------------------

    def opened(self, limit: int) -> list[str]:
        """Queues of which what is owed is to be looked at, the one that opened first before others."""
        sql = "SELECT name FROM queues WHERE opens_ms <= ? ORDER BY opens_ms, name LIMIT ?"
        self.queues.flush()
        return [name for (name,) in self.db.all(sql, self.now(), limit)]

    def next_due(self) -> int | None:
        """When the next delayed job is due, or the next limit opens."""
        self.jobs.flush()
        self.queues.flush()
        found = (
            self.db.one("SELECT min(due_ms) FROM jobs WHERE state = 'delayed'"),
            self.db.one("SELECT min(opens_ms) FROM queues WHERE opens_ms IS NOT NULL"),
        )
        return min((row[0] for row in found if row and row[0] is not None), default=None)

    def native_priorities(self, queue: str) -> list[int]:
        """Priorities of native jobs that wait."""
        sql = "SELECT min(priority) FROM jobs WHERE queue = ? AND state = 'waiting' AND native = 1 AND priority > ?"
        found = [-1]
        while (row := self.db.one(sql, queue, found[-1])) and row[0] is not None:
            found.append(row[0])
        return found[1:]

    # -- moves ----------------------------------------------------------------------------------

    def tell(
        self, queue: str, name: str, job: Job | None = None, value: str | None = None, *, own: bool = False
    ) -> None:
        here = self.queues[queue]
        here.known = here.known or not own
        self.events += 1
        here.last_event += 1
        if value is not None and len(value.encode()) > INLINE_RESULT_BYTES:
            value = None
        job_id, job_name = (job.new.id, job.new.name) if job else ("", "")
        self._events.append((queue, here.last_event, name, job_id, job_name, self.now(), value))

    def retire(self, job: Job) -> None:
        self.delete(job)
        self.ended.drop_old(self.now())
        result = job.result if job.state is State.COMPLETED else None
        cancelled = job.cancelled is not None and job.state is State.FAILED
        ended = Ended(job.state, job.finished_ms, result, job.failed_reason, cancelled)
        self.ended.put(job.new.id, ended, job.ended)
        end_run(self, job, ended)

    def look_ahead(self, ids: Sequence[str], more: Sequence[str]) -> None:
        """Read these, with more that are needed soon: what is known by then if nobody else writes."""
        if not self.jobs.are_known(ids):
            self.jobs.look_ahead(more if self._same and self.jobs.mean_bytes < SMALL_BYTES else ids)

    # -- the graph ------------------------------------------------------------------------------

    def dependents_of(self, name: str, told: bool, limit: int) -> list[str]:
        page: list[str] = self.dependents.page(name, told, limit)
        self.jobs.look_ahead(page)
        return page

    def place_of(self, dependency: str, number: int) -> str:
        name = self.outcomes.name_of(number) if number else None
        return name or dependency

    def set_aside(self, job_id: str) -> None:
        outcome = self.outcomes.get(job_id)
        if outcome is not None:
            name = incarnation(job_id, outcome.number)
            self.db.put("UPDATE outcomes SET name = ? WHERE name = ?", name, job_id)
            self.db.put("UPDATE worklist SET name = ? WHERE name = ?", name, job_id)

    def forget_edges(self, dependent: str, edges: Mapping[str, Edge]) -> None:
        sql = "SELECT dependency, dependency_number FROM edges WHERE dependent = ?"
        found = self.db.all(sql, dependent)
        self.db.put("DELETE FROM edges WHERE dependent = ?", dependent)
        if found:
            self.roots.pop(dependent)
        for dependency, number in found:
            self.forget_edge(dependent, dependency, number)

    def forget_edge(self, dependent: str, dependency: str, number: int) -> None:
        """The edge has been deleted."""
        if number and not self.dependents.is_any(number):
            self.releasing.pop(self.place_of(dependency, number))
            self.db.put("DELETE FROM outcomes WHERE number = ?", number)
