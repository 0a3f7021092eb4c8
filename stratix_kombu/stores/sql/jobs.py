"""The jobs that a step looks at: each is read once, and written at the end if it has changed."""

from __future__ import annotations

from typing import Any

from stratix_kombu.model.state import State
from stratix_kombu.stores.memory.state import Job
from stratix_kombu.stores.sql.columns import (
    INSERT,
    SELECT,
    UPDATE,
    UPDATE_GIVEN,
    changing,
    expires_ms,
    given,
    job_of,
    stands,
)
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sql.edges import Edges

Listed = tuple[str, State, int]
"""The queue and the state in whose list a job is, and its number there."""


class _Row:
    """A job as it is in the table."""

    __slots__ = ("listed", "new", "number", "values")

    def __init__(self, job: Job, listed: Listed) -> None:
        self.number = job.number
        self.new = job.new
        self.values: tuple[Any, ...] = changing(job)
        self.listed = listed


class Jobs:
    """By id, as the dictionary of the memory store."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._loaded: dict[str, Job | None] = {}
        self._rows: dict[str, _Row] = {}
        self.listed: dict[str, Listed] = {}
        """Of the jobs that were looked at, also of those that were deleted, until they are taken out."""
        self.gone: dict[str, int] = {}
        """The numbers of those that this step has deleted."""
        self.moves = 0
        """How often any job was put into a list."""

    def begin(self, moves: int) -> None:
        """Forget everything: a step begins."""
        self._loaded.clear()
        self._rows.clear()
        self.listed.clear()
        self.gone.clear()
        self.moves = moves

    def get(self, job_id: str) -> Job | None:
        if job_id in self._loaded:
            return self._loaded[job_id]
        row = self._db.one(f"{SELECT} WHERE id = ?", job_id)
        if row is None:
            self._loaded[job_id] = None
            return None
        return self._keep(row)

    def _keep(self, row: tuple[Any, ...]) -> Job:
        job = job_of(row)
        job_id = job.new.id
        job.dependencies = Edges(self._db, self, job_id)
        self._loaded[job_id] = job
        self.listed[job_id] = (job.new.queue, job.state, row[-1])
        self._rows[job_id] = _Row(job, self.listed[job_id])
        return job

    def load(self, where: str, *values: Any) -> list[Job]:
        """The jobs that a condition (and order, and limit) names, as they are now in this step."""
        self.flush()
        found = []
        for row in self._db.all(f"{SELECT} WHERE {where}", *values):
            found.append(self._loaded.get(row[1]) or self._keep(row))
        return found

    def of_number(self, number: int) -> str | None:
        """The id of the job of that number."""
        for job_id, job in self._loaded.items():
            if job is not None and job.number == number:
                return job_id
        row = self._db.one("SELECT id FROM jobs WHERE number = ?", number)
        return None if row is None or row[0] in self._loaded else row[0]

    def next_move(self) -> int:
        """A number that is greater than all before."""
        self.moves += 1
        return self.moves

    def put_into(self, job_id: str, queue: str, state: State) -> None:
        """At the end of a list."""
        self.listed[job_id] = (queue, state, self.next_move())

    def __getitem__(self, job_id: str) -> Job:
        job = self.get(job_id)
        if job is None:
            raise KeyError(job_id)
        return job

    def __contains__(self, job_id: str) -> bool:
        return self.get(job_id) is not None

    def __setitem__(self, job_id: str, job: Job) -> None:
        self._loaded[job_id] = job
        job.dependencies = Edges(self._db, self, job_id)

    def __delitem__(self, job_id: str) -> None:
        job = self[job_id]
        self.gone[job_id] = job.number
        self._loaded[job_id] = None

    def flush(self) -> None:
        """Write what has changed."""
        deleted, new, changed, other = list[tuple[int]](), [], [], []
        for job_id, job in self._loaded.items():
            row = self._rows.get(job_id)
            if row is not None and (job is None or job.number != row.number):
                deleted.append((row.number,))
                del self._rows[job_id]
                row = None
            if job is None:
                continue
            values, listed = changing(job), self.listed[job_id]
            if row is None:
                new.append((job.number, *given(job.new), job.state.value, *values, listed[2], expires_ms(job)))
                self._rows[job_id] = _Row(job, listed)
                continue
            if row.new is not job.new:
                other.append((*given(job.new), job.number))
                row.new = job.new
            elif values == row.values and listed == row.listed:
                continue
            if listed == row.listed and stands(values) != stands(row.values):
                self.put_into(job_id, listed[0], listed[1])
                listed = self.listed[job_id]
            changed.append((job.state.value, *values, listed[2], expires_ms(job), job.number))
            row.values, row.listed = values, listed
        if deleted:
            self._db.many("DELETE FROM jobs WHERE number = ?", deleted)
            self._db.many("DELETE FROM logs WHERE number = ?", deleted)
        if other:
            self._db.many(UPDATE_GIVEN, other)
        if new:
            self._db.many(INSERT, new)
        if changed:
            self._db.many(UPDATE, changed)
