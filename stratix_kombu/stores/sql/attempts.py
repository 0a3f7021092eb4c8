"""Attempts that have ended, of jobs that go on, in a table of their own."""

from __future__ import annotations

from stratix_kombu.model.attempts import ATTEMPTS_KEPT, Kept
from stratix_kombu.stores.memory.attempts import Attempts
from stratix_kombu.stores.memory.state import Job
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sql.texts import dumps, loads


def kept_attempts(db: Database, number: int) -> list[Kept]:
    """Those of the job of that number."""
    rows = db.all("SELECT what FROM attempts WHERE number = ? ORDER BY attempt", number)
    return [tuple(loads(what)) for (what,) in rows]


class SqlAttempts(Attempts):
    def __init__(self, db: Database) -> None:
        self._db = db

    def of(self, job: Job) -> list[Kept]:
        return kept_attempts(self._db, job.number)

    def last_number(self, job: Job) -> int:
        row = self._db.one("SELECT max(attempt) FROM attempts WHERE number = ?", job.number)
        return row[0] or 0 if row else 0

    def append(self, job: Job, kept: Kept) -> None:
        put = (
            "INSERT INTO attempts (number, attempt, what) VALUES (?, ?, ?) "
            "ON CONFLICT (number, attempt) DO UPDATE SET what = excluded.what"
        )
        self._db.run(put, job.number, kept[0], dumps(kept))
        self._db.run("DELETE FROM attempts WHERE number = ? AND attempt <= ?", job.number, kept[0] - ATTEMPTS_KEPT)
