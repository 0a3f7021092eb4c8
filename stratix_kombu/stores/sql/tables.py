"""Small tables, as the dictionaries of the memory store: written at once."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import Any

from stratix_kombu.model.record import ENDED_KEPT_MS, Ended, Schedule, WorkerInfo
from stratix_kombu.model.state import State
from stratix_kombu.stores.memory.state import Holder, Presence
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sql.texts import dumps, loads

DROPPED_AT_ONCE = 4
"""How many rows that are out of date are deleted when one is written."""


class Locks:
    """Token and end of each lock."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, key: str, default: tuple[str, int]) -> tuple[str, int]:
        row = self._db.one("SELECT token, until_ms FROM locks WHERE key = ?", key)
        return default if row is None else (row[0], row[1])

    def __setitem__(self, key: str, held: tuple[str, int]) -> None:
        self._db.put(
            "INSERT INTO locks (key, token, until_ms) VALUES (?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET token = excluded.token, until_ms = excluded.until_ms",
            key,
            *held,
        )

    def drop_old(self, now: int) -> None:
        for (key,) in self._db.all("SELECT key FROM locks WHERE until_ms <= ? LIMIT ?", now, DROPPED_AT_ONCE):
            del self[key]

    def __delitem__(self, key: str) -> None:
        self._db.put("DELETE FROM locks WHERE key = ?", key)


class Deduplicated:
    """The job that holds a deduplication id, by queue and id."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, key: tuple[str, str]) -> Holder | None:
        row = self._db.one("SELECT job, number, until_ms FROM deduplicated WHERE queue = ? AND id = ?", *key)
        return None if row is None else Holder(*row)

    def __setitem__(self, key: tuple[str, str], holder: Holder) -> None:
        self._db.put(
            "INSERT INTO deduplicated (queue, id, job, number, until_ms) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (queue, id) DO UPDATE SET job = excluded.job, number = excluded.number, "
            "until_ms = excluded.until_ms",
            *key,
            holder.job_id,
            holder.number,
            holder.until_ms,
        )

    def setdefault(self, key: tuple[str, str], holder: Holder) -> None:
        if self.get(key) is None:
            self[key] = holder

    def __delitem__(self, key: tuple[str, str]) -> None:
        self._db.put("DELETE FROM deduplicated WHERE queue = ? AND id = ?", *key)

    def drop_old(self, now: int) -> None:
        sql = "SELECT queue, id FROM deduplicated WHERE until_ms > 0 AND until_ms <= ? LIMIT ?"
        for key in self._db.all(sql, now, DROPPED_AT_ONCE):
            del self[key[0], key[1]]


class EndedJobs:
    """How jobs have ended that their retention removed, and ``Job.ended``."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, job_id: str, default: Any = None) -> Any:
        sql = "SELECT state, finished_ms, result, failed_reason, cancelled, ended FROM ended WHERE id = ?"
        row = self._db.one(sql, job_id)
        return default if row is None else (ended_of(row), row[5])

    def put(self, job_id: str, ended: Ended, how: str) -> None:
        self._db.put(
            "INSERT INTO ended (id, state, finished_ms, result, failed_reason, cancelled, ended) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state, "
            "finished_ms = excluded.finished_ms, result = excluded.result, failed_reason = excluded.failed_reason, "
            "cancelled = excluded.cancelled, ended = excluded.ended",
            job_id,
            ended.state.value,
            ended.finished_ms,
            ended.result,
            ended.failed_reason,
            ended.cancelled,
            how,
        )

    def drop_old(self, now: int) -> None:
        sql = "SELECT id FROM ended WHERE finished_ms <= ? ORDER BY finished_ms LIMIT ?"
        for (job_id,) in self._db.all(sql, now - ENDED_KEPT_MS, DROPPED_AT_ONCE):
            self.pop(job_id)

    def pop(self, job_id: str, default: Any = None) -> None:
        self._db.put("DELETE FROM ended WHERE id = ?", job_id)


def ended_of(row: tuple[Any, ...]) -> Ended:
    return Ended(State(row[0]), row[1], row[2], row[3], bool(row[4]))


_SCHEDULE = [field.name for field in fields(Schedule)]
SCHEDULES = f"SELECT {', '.join(_SCHEDULE)} FROM schedules"


def schedule_of(row: tuple[Any, ...]) -> Schedule:
    given = dict(zip(_SCHEDULE, row, strict=True))
    return Schedule(**{**given, "paused": bool(given["paused"])})


class ScheduleTable:
    """Schedules by key."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, key: str) -> Schedule | None:
        row = self._db.one(f"{SCHEDULES} WHERE key = ?", key)
        return None if row is None else schedule_of(row)

    def __setitem__(self, key: str, schedule: Schedule) -> None:
        others = [name for name in _SCHEDULE if name != "key"]
        self._db.put(
            f"INSERT INTO schedules ({', '.join(_SCHEDULE)}) VALUES ({', '.join('?' * len(_SCHEDULE))}) "
            f"ON CONFLICT (key) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in others)}",
            *astuple(schedule),
        )

    def pop(self, key: str, default: Any = None) -> bool | None:
        return bool(self._db.run("DELETE FROM schedules WHERE key = ?", key)) or None


class PresenceTable:
    """Until when each worker is present."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def __setitem__(self, worker: str, one: Presence) -> None:
        self._db.put(
            "INSERT INTO presence (worker, until_ms, again_ms) VALUES (?, ?, ?) "
            "ON CONFLICT (worker) DO UPDATE SET until_ms = excluded.until_ms, again_ms = excluded.again_ms",
            worker,
            one.until_ms,
            one.again_ms,
        )

    def drop_old(self, before: int) -> bool:
        """With all they have said: workers that did not leave. Whether there were any."""
        sql = "SELECT worker FROM presence WHERE until_ms < ? LIMIT ?"
        found = self._db.all(sql, before, DROPPED_AT_ONCE)
        for (worker,) in found:
            self._db.put("DELETE FROM presence WHERE worker = ?", worker)
            for (queue,) in self._db.all("SELECT queue FROM workers WHERE id = ?", worker):
                self._db.put("DELETE FROM workers WHERE queue = ? AND id = ?", queue, worker)
                self._db.put("DELETE FROM took WHERE queue = ? AND worker = ?", queue, worker)
        return bool(found)


class Workers:
    """Of one queue, as they were renewed last."""

    def __init__(self, db: Database, queue: str) -> None:
        self._db = db
        self._queue = queue

    def __setitem__(self, worker: str, info: WorkerInfo) -> None:
        values = [getattr(info, name) for name in _TOLD]
        self._db.put(
            "INSERT INTO workers (queue, id, info) VALUES (?, ?, ?) "
            "ON CONFLICT (queue, id) DO UPDATE SET info = excluded.info",
            self._queue,
            worker,
            dumps(values),
        )

    def pop(self, worker: str, default: Any = None) -> None:
        self._db.put("DELETE FROM workers WHERE queue = ? AND id = ?", self._queue, worker)


_TOLD = ["host", "pid", "concurrency", "idle_ms", "stuck", "version", "started_ms", "slots"]


def worker_of(queue: str, worker: str, info: str) -> WorkerInfo:
    return WorkerInfo(id=worker, queue=queue, **dict(zip(_TOLD, loads(info), strict=False)))
