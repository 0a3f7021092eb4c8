"""Reading tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stratix_kombu.model.attempts import Attempt, attempts_of
from stratix_kombu.model.dependency import Dependency
from stratix_kombu.model.finding import ALL_JOBS, LOOKED_AT_ONCE, FailureHead, JobFilter, Page, heads
from stratix_kombu.model.limiter import starts_of
from stratix_kombu.model.metrics import HOUR_MS, MINUTE_MS, Tally, Totals
from stratix_kombu.model.overview import QUEUES_AT_ONCE, QueueOverview
from stratix_kombu.model.record import ENDED_KEPT_MS, GATE, Ended, Held, JobRecord, Limit, QueueStatus, WorkerInfo
from stratix_kombu.model.state import State
from stratix_kombu.model.workers import WorkerProcess
from stratix_kombu.stores.contract import FOUND_AT_ONCE, PAGE, Queries
from stratix_kombu.stores.sql.attempts import kept_attempts
from stratix_kombu.stores.sql.columns import COLUMNS, SELECT, job_of, limit_of
from stratix_kombu.stores.sql.counting import Counting
from stratix_kombu.stores.sql.database import Database, padded, places
from stratix_kombu.stores.sql.finding import found_jobs
from stratix_kombu.stores.sql.limits import Limits
from stratix_kombu.stores.sql.listing import page_of, rows_between
from stratix_kombu.stores.sql.overview import STATUS, oldest_ms, overview_page, present_on, processes_page, status_of
from stratix_kombu.stores.sql.space import SqlSpace
from stratix_kombu.stores.sql.tables import ended_of
from stratix_kombu.stores.sql.texts import loads

_EDGES = "SELECT dependency, dependency_number FROM edges WHERE dependent = ? ORDER BY place"
_THERE = "SELECT id, number, state, kind, result, finished_ms FROM jobs WHERE id IN "
_ENDED = "SELECT number, state, gate, result FROM outcomes WHERE number IN "


def _records(rows: Sequence[tuple[Any, ...]]) -> list[JobRecord]:
    return [job_of(row).record() for row in rows]


class SqlQueries(Queries):
    def __init__(self, space: SqlSpace) -> None:
        self._space = space

    def now(self) -> int:
        with self._space.reading() as db:
            return self._space.time_of(db)

    def stands_still_ms(self) -> int:
        with self._space.reading() as db:
            return self._space.stands_still_ms(db)

    def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        found: dict[str, JobRecord] = {}
        for page in _pages(ids):
            with self._space.reading() as db:
                rows = db.all(f"{SELECT} WHERE id IN ({places(page)})", *padded(page))
            found.update((record.id, record) for record in _records(rows))
        return [found.get(job_id) for job_id in ids]

    def page(self, queue: str, state: State, where: JobFilter = ALL_JOBS, cursor: str = "", limit: int = PAGE) -> Page:
        with self._space.reading() as db:
            found, cursor, looked = found_jobs(db, queue, state, where, cursor, limit)
            ids = [one.id for one in found]
            rows = {row[1]: row for page in _pages(ids) for row in _rows_of(db, page)}
        return Page(_records([rows[job_id] for job_id in ids]), cursor, looked)

    def failures(
        self, queue: str, letters: bool = False, cursor: str = "", limit: int = LOOKED_AT_ONCE
    ) -> tuple[list[FailureHead], str, int]:
        state = State.WAITING if letters else State.FAILED
        with self._space.reading() as db:
            found, cursor, looked = found_jobs(db, queue, state, ALL_JOBS, cursor, limit)
        return heads(found, letters), cursor, looked

    def states(self, ids: Sequence[str]) -> list[State | None]:
        found: dict[str, State] = {}
        for page in _pages(ids):
            with self._space.reading() as db:
                rows = db.all(f"SELECT id, state FROM jobs WHERE id IN ({places(page)})", *padded(page))
            found.update((job_id, State(state)) for job_id, state in rows)
        return [found.get(job_id) for job_id in ids]

    def ended(self, ids: Sequence[str]) -> list[Ended | None]:
        found: dict[str, Ended] = {}
        columns = "state, finished_ms, result, failed_reason, cancelled, id"
        for page in _pages(ids):
            with self._space.reading() as db:
                since = self._space.time_of(db) - ENDED_KEPT_MS
                wanted = f"id IN ({places(page)}) AND finished_ms > ?"
                rows = db.all(f"SELECT {columns} FROM ended WHERE {wanted}", *padded(page), since)
            found.update((row[5], ended_of(row)) for row in rows)
        return [found.get(job_id) for job_id in ids]

    def find(self, queue: str, states: Sequence[State], start: int = 0, end: int = -1) -> list[JobRecord]:
        with self._space.reading() as db:
            if start < 0 or end < 0:
                counts = dict(zip(State, (db.one(f"{STATUS} WHERE name = ?", queue) or (0,) * 7)[1:7], strict=True))
                total = sum(counts[state] for state in states)
                start = max(start + total, 0) if start < 0 else start
                end = end + total if end < 0 else end
            return _records(list(rows_between(db, queue, states, start, min(end, start + FOUND_AT_ONCE - 1))))

    def scan(self, queue: str, state: State, cursor: str = "", limit: int = PAGE) -> tuple[list[JobRecord], str]:
        with self._space.reading() as db:
            ids, cursor = page_of(db, queue, state, cursor, limit)
            rows = {row[1]: row for page in _pages(ids) for row in _rows_of(db, page)}
        return _records([rows[job_id] for job_id in ids]), cursor

    def status(self, queue: str) -> QueueStatus:
        with self._space.reading() as db:
            return QueueStatus(**status_of(db, queue, self._space.time_of(db)))

    def overview(
        self, after: str = "", limit: int = QUEUES_AT_ONCE, minutes: int = 60
    ) -> tuple[list[QueueOverview], str]:
        with self._space.reading() as db:
            return overview_page(db, self._space.time_of(db), after, limit, minutes)

    def metrics(self, queue: str, minutes: int) -> list[Tally]:
        with self._space.reading() as db:
            now = self._space.time_of(db)
            counted = Counting(db, queue)
            counted.read_minutes(now // MINUTE_MS - minutes)
            counted.observe()
        return counted.last(now, minutes)

    def hours(self, queue: str, hours: int, name: str = "") -> list[Tally]:
        with self._space.reading() as db:
            now = self._space.time_of(db)
            counted = Counting(db, queue)
            counted.read_hours(now // HOUR_MS - hours)
            counted.read_named(now // HOUR_MS - hours, [name] if name else [])
            counted.observe()
        return counted.last_hours(now, hours, name)

    def names(self, queue: str) -> list[str]:
        with self._space.reading() as db:
            counted = Counting(db, queue)
            counted.read_named(0, [])
            counted.observe()
        return counted.names

    def totals(self, queue: str) -> Totals:
        with self._space.reading() as db:
            counted = Counting(db, queue)
            counted.observe()
        return counted.totals

    def limit_ttl(self, queue: str, limit: Limit | None = None) -> int:
        with self._space.reading() as db:
            now = self._space.time_of(db)
            held_ms, body = db.one(
                "SELECT held_ms, body FROM queues WHERE name = ? ORDER BY era DESC LIMIT 1", queue
            ) or (0, "")
            said = loads(body).get("limit") if body else None
            limit = limit_of(said) if said else limit
            free = 0
            if limit:
                starts = Limits(db).setdefault((limit.key, bool(limit.refill_per_s)), starts_of(limit))
                free = starts.free_at(limit, now)
            return int(max(free, held_ms, now) - now)

    def bounds(self, queue: str) -> tuple[Limit | None, int | None]:
        with self._space.reading() as db:
            row = db.one("SELECT body FROM queues WHERE name = ? ORDER BY era DESC LIMIT 1", queue)
        body = loads(row[0]) if row and row[0] else {}
        return limit_of(body["limit"]) if "limit" in body else None, body.get("global_concurrency")

    def queues(self) -> list[str]:
        with self._space.reading() as db:
            return [name for (name,) in db.all("SELECT name FROM queues WHERE known = 1 ORDER BY name")]

    def late_queues(self, waited_ms: int) -> list[str]:
        with self._space.reading() as db:
            now = self._space.time_of(db)
            waiting = db.all("SELECT name FROM queues WHERE waiting > 0 AND paused = 0 ORDER BY name")
            return [name for (name,) in waiting if oldest_ms(db, name, now) >= waited_ms]

    def workers(self, queue: str) -> list[WorkerInfo]:
        with self._space.reading() as db:
            return present_on(db, queue, self._space.time_of(db))

    def processes(self, after: str = "", limit: int = PAGE) -> tuple[list[WorkerProcess], str]:
        with self._space.reading() as db:
            return processes_page(db, self._space.time_of(db), after, limit)

    def held(self, queue: str, worker: str) -> list[Held]:
        sql = "SELECT id, token FROM jobs WHERE queue = ? AND state = 'active' AND worker = ? ORDER BY seq"
        with self._space.reading() as db:
            return [Held(*row) for row in db.all(sql, queue, worker)]

    def attempts(self, job_id: str) -> list[Attempt] | None:
        with self._space.reading() as db:
            row = db.one(f"{SELECT} WHERE id = ?", job_id)
            if row is None:
                return None
            job = job_of(row)
            return attempts_of(job.record(), kept_attempts(db, job.number))

    def logs(self, job_id: str, start: int = 0, end: int = -1) -> list[str]:
        lines, _ = self.logs_after(job_id, 0)
        start = max(start + len(lines), 0) if start < 0 else start
        return lines[start : end + 1 + (len(lines) if end < 0 else 0)]

    def logs_after(self, job_id: str, number: int) -> tuple[list[str], int]:
        with self._space.reading() as db:
            job = db.one("SELECT number, logged FROM jobs WHERE id = ?", job_id)
            if job is None:
                return [], 0
            sql = "SELECT line FROM logs WHERE number = ? AND place > ? ORDER BY place"
            return [line for (line,) in db.all(sql, job[0], number)], job[1]

    def depends_on(self, job_id: str) -> dict[str, Dependency]:
        return {one: known for one, known, gate, _ in self._edges(job_id) if not gate}

    def _edges(self, job_id: str) -> list[tuple[str, Dependency, bool, bool]]:
        """Dependency, what is known of it, whether it is a gate, and whether another job has the id."""
        with self._space.reading() as db:
            edges = db.all(_EDGES, job_id)
            # Not joined: where statistics say that the tables are empty, each edge might be looked for in all jobs.
            there = {row[0]: row[1:] for row in _found(db, _THERE, [one for one, _ in edges])}
            gone = [number for one, number in edges if one not in there or there[one][0] != number]
            outcomes = {row[0]: row[1:] for row in _found(db, _ENDED, gone)}
        found = []
        for dependency, number in edges:
            same, *of_job = there.get(dependency, (None, "", "", None, 0))
            if same == number:
                state, kind, result, finished = of_job
                found.append((dependency, _known(state, result, finished), kind == GATE, False))
            else:
                ended, gate, kept = outcomes.get(number, ("removed", 0, None))
                found.append((dependency, _known(ended, kept, 0), bool(gate), same is not None))
        return found

    def dependents(self, job_id: str) -> list[str]:
        with self._space.reading() as db:
            return _dependents(db, job_id)

    def edges(self, ids: Sequence[str]) -> list[tuple[list[str], list[str]]]:
        return [(self._before(job_id), self.dependents(job_id)) for job_id in ids]

    def _before(self, job_id: str) -> list[str]:
        return [one for one, _, gate, other in self._edges(job_id) if not other and not gate]

    def roots(self, cursor: str = "", limit: int = PAGE) -> tuple[list[JobRecord], str]:
        with self._space.reading() as db:
            sql = "SELECT id, number FROM flows WHERE number < ? ORDER BY number DESC LIMIT ?"
            found = db.all(sql, int(cursor) if cursor else 2**62, limit)
            rows = {row[1]: row for page in _pages([job_id for job_id, _ in found]) for row in _rows_of(db, page)}
        records = _records([rows[job_id] for job_id, _ in found if job_id in rows])
        return records, str(found[-1][1]) if len(found) == limit else ""


def _known(state: str, result: str | None, finished_ms: int) -> Dependency:
    if state == "removed":
        return Dependency(None)
    return Dependency(State(state), result if state == "completed" else None, finished_ms)


def _pages(ids: Sequence[Any]) -> list[Sequence[Any]]:
    return [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)]


def _found(db: Database, sql: str, keys: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows that have these keys."""
    return [row for page in _pages(keys) for row in db.all(f"{sql}({places(page)})", *padded(page))]


def _rows_of(db: Database, ids: Sequence[str]) -> list[tuple[Any, ...]]:
    return db.all(f"SELECT {', '.join(COLUMNS)} FROM jobs WHERE id IN ({places(ids)})", *padded(ids))


def _dependents(db: Database, job_id: str) -> list[str]:
    named = "SELECT number FROM jobs WHERE id = ? UNION ALL SELECT number FROM outcomes WHERE name = ?"
    sql = f"SELECT dependent FROM edges WHERE dependency_number = ({named}) AND told IS NOT NULL ORDER BY dependent"
    return [one for (one,) in db.all(sql, job_id, job_id)]
