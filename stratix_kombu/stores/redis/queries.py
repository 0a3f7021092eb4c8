"""Reading the Redis store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stratix_kombu.model.metrics import Tally, Totals
from stratix_kombu.model.record import Ended, Held, JobRecord, Limit, QueueStatus, WorkerInfo
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Queries
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.metrics import tally_of, totals_of
from stratix_kombu.stores.redis.records import FIELDS, ended_of, limit_text, record_of
from stratix_kombu.stores.redis.scripts import Scripts

_COUNTED = ("waiting", "active", "delayed", "blocked", "completed", "failed")


class RedisQueries(Queries):
    def __init__(self, client: Client, scripts: Scripts, base: str) -> None:
        self._client = client
        self._scripts = scripts
        self._base = base

    def now(self) -> int:
        seconds, micros = self._client.run("TIME", again=True)
        return int(seconds) * 1000 + int(micros) // 1000

    def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        if not ids:
            return []
        found = self._scripts.run("get", (len(FIELDS), *FIELDS, *ids))
        return [record_of(job_id, values) for job_id, values in zip(ids, found, strict=True)]

    def ended(self, ids: Sequence[str]) -> list[Ended | None]:
        found = self._client.run("MGET", *(f"{self._base}:ended:{one}" for one in ids)) if ids else []
        return [ended_of(one) if one else None for one in found]

    def find(self, queue: str, states: Sequence[State], start: int = 0, end: int = -1) -> list[JobRecord]:
        names = [state.value for state in states]
        found = self._scripts.run("find", (queue, start, end, len(FIELDS), *FIELDS, *names))
        records = (record_of(found[i].decode(), found[i + 1]) for i in range(0, len(found), 2))
        return [record for record in records if record is not None]

    def status(self, queue: str) -> QueueStatus:
        paused, *numbers = self._scripts.run("status", (queue,))
        counts = dict(zip(_COUNTED, (int(one) for one in numbers[:6]), strict=True))
        counts["paused"] = 0
        if paused:
            counts["paused"], counts["waiting"] = counts["waiting"], 0
        workers, oldest = int(numbers[6]), int(numbers[7])
        return QueueStatus(
            name=queue, paused=bool(paused), counts=counts, workers=workers,
            oldest_waiting_ms=None if oldest < 0 else oldest, overdue_ms=int(numbers[8]),
        )  # fmt: skip

    def waiting_priorities(self, queue: str) -> list[int]:
        return [int(one) for one in self._scripts.run("waiting", (queue,))]

    def metrics(self, queue: str, minutes: int) -> list[Tally]:
        this, found = self._scripts.run("metrics", (queue, minutes))
        return [tally_of(minute, raw) for minute, raw in enumerate(found, int(this) - len(found) + 1)]

    def totals(self, queue: str) -> Totals:
        raw = self._client.run("GET", f"{self._base}:q:{queue}:totals", again=True)
        names = self._client.run("HGETALL", f"{self._base}:q:{queue}:names", again=True)
        return totals_of(raw or b"", names)

    def limit_ttl(self, queue: str, limit: Limit | None = None) -> int:
        return int(self._scripts.run("limit_ttl", (queue, limit_text(limit))))

    def queues(self) -> list[str]:
        return sorted(one.decode() for one in self._client.run("SMEMBERS", f"{self._base}:queues", again=True))

    def workers(self, queue: str) -> list[WorkerInfo]:
        now, *found = self._scripts.run("workers", (queue,))
        read = (_worker(queue, found[i].decode(), found[i + 1], now) for i in range(0, len(found), 2))
        present = [one for one in read if one is not None]
        return sorted(present, key=lambda one: one.id)

    def held(self, queue: str, worker: str) -> list[Held]:
        found = self._scripts.run("held", (queue, worker))
        return [Held(found[i].decode(), found[i + 1].decode()) for i in range(0, len(found), 2)]

    def logs(self, job_id: str, start: int = 0, end: int = -1) -> list[str]:
        lines = self._client.run("LRANGE", f"{self._base}:job:{job_id}:logs", start, end, again=True)
        return [line.decode() for line in lines]

    def dependencies(self, job_id: str) -> dict[str, State | None]:
        return {
            one: State(state) if state else None for one, state, _ in self._dependencies(job_id)
        }

    def dependents(self, job_id: str) -> list[str]:
        found = self._client.run("ZRANGE", f"{self._base}:job:{job_id}:dependents", 0, -1, again=True)
        return sorted(one.decode() for one in found)

    def edges(self, ids: Sequence[str]) -> list[tuple[list[str], list[str]]]:
        found = self._scripts.run("edges", tuple(ids)) if ids else []
        return [
            ([one.decode() for one in before], sorted(one.decode() for one in after)) for before, after in found
        ]

    def dependency_results(self, job_id: str) -> dict[str, str]:
        return {one: result for one, _, result in self._dependencies(job_id) if result is not None}

    def _dependencies(self, job_id: str) -> list[tuple[str, str, str | None]]:
        flat: Sequence[Any] = self._scripts.run("dependencies", (job_id,))
        return [
            (flat[i].decode(), flat[i + 1].decode(), flat[i + 3].decode() if flat[i + 2] else None)
            for i in range(0, len(flat), 4)
        ]


def _worker(queue: str, worker: str, text: bytes, now: int) -> WorkerInfo | None:
    """A worker's presence; None where what it said of itself cannot be read: it will say it again."""
    try:
        info = json.loads(text)
        proved_ms = info.pop("proved_ms", None)
        idle_ms = None if proved_ms is None else max(now - proved_ms, 0)
        return WorkerInfo(id=worker, queue=queue, idle_ms=idle_ms, **info)
    except (AttributeError, TypeError, ValueError):
        return None
