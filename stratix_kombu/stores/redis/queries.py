"""Reading the Redis store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from stratix_kombu.model.attempts import Attempt, attempts_of
from stratix_kombu.model.dependency import Dependency
from stratix_kombu.model.fields import WIRE
from stratix_kombu.model.finding import (
    ALL_JOBS,
    LOOKED_AT_ONCE,
    FailureHead,
    JobFilter,
    Looked,
    Page,
    heads,
    not_a_cursor,
)
from stratix_kombu.model.limiter import limit_from
from stratix_kombu.model.metrics import HOUR_MS, Tally, Totals
from stratix_kombu.model.overview import QUEUES_AT_ONCE, RECENT_MINUTES, QueueOverview
from stratix_kombu.model.record import Ended, Held, JobRecord, Limit, QueueStatus, WorkerInfo
from stratix_kombu.model.state import State
from stratix_kombu.model.workers import Led, WorkerProcess
from stratix_kombu.stores.contract import FOUND_AT_ONCE, PAGE, Queries
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.fields import STATES, WORDS
from stratix_kombu.stores.redis.metrics import tally_of, totals_of
from stratix_kombu.stores.redis.overview import overview_of, status_values
from stratix_kombu.stores.redis.presence import process_from, worker_of
from stratix_kombu.stores.redis.records import ended_of, record_of
from stratix_kombu.stores.redis.scripts import Scripts, pages
from stratix_kombu.stores.redis.texts import limit_text

QUEUES_INLINE = 50
"""Of so many queues at most a worker's are answered with it."""
_CURSOR = re.compile(r"\d{1,2} (|[0-9][0-9.e+]*) .*", re.DOTALL)
"""See ``lua/page.lua``."""


class RedisQueries(Queries):
    def __init__(self, client: Client, scripts: Scripts, base: str) -> None:
        self._client = client
        self._scripts = scripts
        self._base = base

    def now(self) -> int:
        seconds, micros = self._client.run("TIME", again=True)
        return int(seconds) * 1000 + int(micros) // 1000

    def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        records: list[JobRecord | None] = []
        for page in pages(ids, PAGE):
            found = self._scripts.run("get", (len(WORDS), *WORDS, *page))
            records += [record_of(job_id, values) for job_id, values in zip(page, found, strict=True)]
        return records

    def states(self, ids: Sequence[str]) -> list[State | None]:
        found = (one for page in pages(ids, PAGE) for one in self._scripts.run("states", page))
        return [STATES.get(one) for one in found]

    def ended(self, ids: Sequence[str]) -> list[Ended | None]:
        found = self._client.run("MGET", *(f"{self._base}:ended:{one}" for one in ids)) if ids else []
        return [ended_of(one) if one else None for one in found]

    def find(self, queue: str, states: Sequence[State], start: int = 0, end: int = -1) -> list[JobRecord]:
        names = [state.value for state in states]
        found = self._scripts.run("find", (queue, start, end, FOUND_AT_ONCE, len(WORDS), *WORDS, *names))
        return _records(found)

    def scan(self, queue: str, state: State, cursor: str = "", limit: int = PAGE) -> tuple[list[JobRecord], str]:
        after, *found = self._scripts.run("scan", (queue, state.value, limit, cursor, *WORDS))
        return _records(found), after.decode()

    def page(self, queue: str, state: State, where: JobFilter = ALL_JOBS, cursor: str = "", limit: int = PAGE) -> Page:
        said = {name: value for name, value in asdict(where).items() if value}
        after, looked, found = self._page(queue, state, json.dumps(said) if said else "", (cursor, limit), WORDS)
        return Page(_records(found), after, looked)

    def failures(
        self, queue: str, letters: bool = False, cursor: str = "", limit: int = LOOKED_AT_ONCE
    ) -> tuple[list[FailureHead], str, int]:
        at = "created_ms" if letters else "finished_ms"
        words = [WIRE[name] for name in ("failed_reason", at, "kind")]
        state = State.WAITING if letters else State.FAILED
        after, looked, found = self._page(queue, state, "", (cursor, limit), words)
        jobs = zip(found[::2], found[1::2], strict=True)
        return heads((_failure(job_id, values) for job_id, values in jobs if values), letters), after, looked

    def _page(
        self, queue: str, state: State, where: str, part: tuple[str, int], words: Sequence[str]
    ) -> tuple[str, int, Sequence[Any]]:
        """Cursor, number looked at, and id, values, id, ...; ``part`` is the cursor and the most that are wanted."""
        cursor, limit = part
        if cursor and not _CURSOR.fullmatch(cursor):
            raise not_a_cursor(cursor)
        after, looked, *found = self._scripts.run(
            "page", (queue, state.value, limit, LOOKED_AT_ONCE, cursor, where, *words)
        )
        return after.decode(), int(looked), found

    def status(self, queue: str) -> QueueStatus:
        return QueueStatus(**status_values(queue, self._scripts.run("status", (queue,))))

    def overview(
        self, after: str = "", limit: int = QUEUES_AT_ONCE, minutes: int = 60
    ) -> tuple[list[QueueOverview], str]:
        cursor, (this, *found) = self._scripts.run("overview", (minutes, RECENT_MINUTES, after or "0", limit))
        page = [overview_of(int(this), one) for one in found]
        return page, "" if cursor == b"0" else cursor.decode()

    def metrics(self, queue: str, minutes: int) -> list[Tally]:
        this, found = self._scripts.run("metrics", (queue, minutes))
        return [tally_of(minute, raw) for minute, raw in enumerate(found, int(this) - len(found) + 1)]

    def hours(self, queue: str, hours: int, name: str = "") -> list[Tally]:
        this, found = self._scripts.run("hours", (queue, hours, name))
        return [tally_of(hour, raw, HOUR_MS) for hour, raw in enumerate(found, int(this) - len(found) + 1)]

    def names(self, queue: str) -> list[str]:
        return sorted(one.decode() for one in self._scripts.run("names", (queue,)))

    def totals(self, queue: str) -> Totals:
        return totals_of(*self._scripts.run("totals", (queue,)))

    def limit_ttl(self, queue: str, limit: Limit | None = None) -> int:
        return int(self._scripts.run("limit_ttl", (queue, limit_text(limit))))

    def bounds(self, queue: str) -> tuple[Limit | None, int | None]:
        limit, most = self._client.run(
            "HMGET", f"{self._base}:q:{queue}:meta", "limit", "global_concurrency", again=True
        )
        return limit_from(json.loads(limit)) if limit else None, int(most) if most else None

    def queues(self) -> list[str]:
        return sorted({one.decode() for one in self._scripts.members("SSCAN", ":queues")})

    def late_queues(self, waited_ms: int) -> list[str]:
        return sorted({one.decode() for page in self._scripts.paged("late", waited_ms) for one in page})

    def workers(self, queue: str) -> list[WorkerInfo]:
        present: dict[str, WorkerInfo] = {}
        for now, *found in self._scripts.paged("workers", queue):
            for i in range(0, len(found), 4):
                worker = worker_of(queue, now, found[i : i + 4])
                if worker is not None:
                    present[worker.id] = worker
        return sorted(present.values(), key=lambda one: one.id)

    def processes(self, after: str = "", limit: int = PAGE) -> tuple[list[WorkerProcess], str]:
        cursor, (now, clock, due, *found) = self._scripts.run("processes", (QUEUES_INLINE, after or "0", limit))
        led = Led(int(now), clock.decode(), None if int(due) < 0 else int(due))
        known = (process_from(one, self._served(one), led) for one in found)
        page = {one.id: one for one in known if one is not None}
        return list(page.values()), "" if cursor == b"0" else cursor.decode()

    def _served(self, found: Sequence[Any]) -> dict[str, int]:
        worker, _, queues = found
        if isinstance(queues, int):  # too many for one answer
            queues = self._scripts.members("HSCAN", f":serves:{worker.decode()}")
        return {queues[i].decode(): int(queues[i + 1]) for i in range(0, len(queues), 2)}

    def held(self, queue: str, worker: str) -> list[Held]:
        found: dict[str, Held] = {}
        for page in self._scripts.paged("held", queue, worker):
            for i in range(0, len(page), 2):
                found[page[i]] = Held(page[i].decode(), page[i + 1].decode())
        return list(found.values())

    def attempts(self, job_id: str) -> list[Attempt] | None:
        values, kept = self._scripts.run("attempts", (job_id, *WORDS))
        record = record_of(job_id, values)
        return attempts_of(record, [json.loads(one) for one in kept]) if record else None

    def logs(self, job_id: str, start: int = 0, end: int = -1) -> list[str]:
        lines = self._client.run("LRANGE", f"{self._base}:job:{job_id}:logs", start, end, again=True)
        return [line.decode() for line in lines]

    def logs_after(self, job_id: str, number: int) -> tuple[list[str], int]:
        written, lines = self._scripts.run("logs_after", (job_id, number))
        return [line.decode() for line in lines], int(written)

    def depends_on(self, job_id: str) -> dict[str, Dependency]:
        return {one: known for one, known, _ in self._dependencies(job_id)}

    def dependents(self, job_id: str) -> list[str]:
        found = self._scripts.members("ZSCAN", f":job:{job_id}:dependents")
        return sorted({one.decode() for one in found[::2]})

    def edges(self, ids: Sequence[str]) -> list[tuple[list[str], list[str]]]:
        found: list[tuple[list[str], list[str]]] = []
        while len(found) < len(ids):
            for answer in self._scripts.run("edges", (PAGE, *ids[len(found) : len(found) + PAGE])):
                if answer:
                    before, after = answer
                    found.append(([one.decode() for one in before], sorted(one.decode() for one in after)))
                else:  # it has too many for one answer
                    job_id = ids[len(found)]
                    before = [one for one, *_, other in self._dependencies(job_id) if not other]
                    found.append((before, self.dependents(job_id)))
        return found

    def roots(self, cursor: str = "", limit: int = PAGE) -> tuple[list[JobRecord], str]:
        after, ids = self._scripts.run("roots", (cursor, limit))
        records = self.get([one.decode() for one in ids])
        return [record for record in records if record is not None], after.decode()

    def _dependencies(self, job_id: str) -> Iterator[tuple[str, Dependency, bool]]:
        """Id, what is known of it, and whether another job has the id by now."""
        for flat in self._scripts.paged("dependencies", job_id):
            for i in range(0, len(flat), 5):
                one, state, flags, result, finished = flat[i : i + 5]
                known = Dependency(STATES.get(state), result.decode() if flags & 1 else None, int(finished or 0))
                yield one.decode(), known, bool(flags & 2)


def _records(found: Sequence[Any]) -> list[JobRecord]:
    """From an answer id, values of ``WORDS``, id, ..."""
    records = (record_of(found[i].decode(), found[i + 1]) for i in range(0, len(found), 2))
    return [record for record in records if record is not None]


def _failure(job_id: bytes, values: Sequence[Any]) -> Looked:
    """From the reason, when it was, and the kind."""
    reason, at, kind = values
    at_ms = int(at) if at and at.isdigit() else 0
    return Looked(job_id.decode(), "", "", (reason or b"").decode(errors="replace"), "", at_ms, (kind or b"").decode())
