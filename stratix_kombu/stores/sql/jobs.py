"""The jobs that a step looks at: each is read once, and written at the end if it has changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stratix_kombu.model.state import State
from stratix_kombu.stores.memory.state import Job
from stratix_kombu.stores.sql.columns import (
    INSERT,
    SELECT,
    UPDATE_GIVEN,
    begun_of,
    changing,
    expires_ms,
    given,
    job_of,
    stands,
    update_of,
)
from stratix_kombu.stores.sql.database import Database, Read, padded, places
from stratix_kombu.stores.sql.edges import Edges

ASKED_AT_ONCE = 250
_ONE = f"{SELECT} WHERE id = ?"
KEPT, KEPT_BYTES = 2_000, 8_000_000
"""How many jobs, and how much data of theirs, are known from one step to the next."""
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

    @property
    def may_have_attempts(self) -> bool:
        """Whether any but the one that is under way may be kept: not of those that are removed when they complete."""
        begun, stalled = begun_of(self.values)
        return bool(begun > 1 or stalled or (begun and self.listed[1] is not State.ACTIVE))


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
        self._used: set[str] = set()
        """Those that this step has looked at."""
        self.some_edges: bool | None = None
        """Whether there is any edge in the table; None = it was not looked."""
        self._bytes = 0
        """The data of all that are loaded, about."""

    def begin(self, same: bool) -> None:
        """A step begins; ``same``: what was read is as it was. Of that are kept jobs that have not finished and wait
        for no other one, as long as they are few."""
        self.gone.clear()
        self.some_edges = self.some_edges if same else None
        if not same or len(self._loaded) > KEPT or self._bytes > KEPT_BYTES:
            self._loaded.clear()
            self._rows.clear()
            self.listed.clear()
            self._bytes = 0
        for job_id in self._used:
            job = self._loaded.get(job_id)
            if job is None or job.state.finished or job.dependencies or job_id not in self._rows:
                for kept in (self._loaded, self._rows, self.listed):
                    kept.pop(job_id, None)
        self._used.clear()

    def get(self, job_id: str) -> Job | None:
        self._used.add(job_id)
        if job_id in self._loaded:
            return self._loaded[job_id]
        row = self._db.one(_ONE, job_id)
        if row is None:
            self._loaded[job_id] = None
            return None
        return self._keep(row)

    def _keep(self, row: tuple[Any, ...]) -> Job:
        job = job_of(row)
        job_id = job.new.id
        self._used.add(job_id)
        self._bytes += len(job.data)
        job.dependencies = Edges(self._db, self, job_id)
        self._loaded[job_id] = job
        self.listed[job_id] = (job.new.queue, job.state, row[-1])
        self._rows[job_id] = _Row(job, self.listed[job_id])
        return job

    @staticmethod
    def asked(ids: Sequence[str]) -> list[Read]:
        """What is asked for these, if they are few."""
        page = list(dict.fromkeys(ids))
        if not page or len(page) > ASKED_AT_ONCE:
            return []
        return [(_ONE, (page[0],)) if len(page) == 1 else (f"{SELECT} WHERE id IN ({places(page)})", (*padded(page),))]

    def look_ahead(self, ids: Iterable[str]) -> None:
        """Read these with one question, for each of them will be asked for."""
        wanted = [job_id for job_id in dict.fromkeys(ids) if job_id not in self._loaded]
        for start in range(0, len(wanted), ASKED_AT_ONCE) if len(wanted) > 1 else ():
            page = wanted[start : start + ASKED_AT_ONCE]
            self._loaded.update(dict.fromkeys(page))
            self._used.update(page)
            for row in self._db.all(f"{SELECT} WHERE id IN ({places(page)})", *padded(page)):
                self._keep(row)

    def presume_new(self, ids: Iterable[str]) -> None:
        """Take it for granted that these are not there: inserting one that is makes the step fail."""
        for job_id in ids:
            if job_id not in self._loaded:
                self._loaded[job_id] = None
                self._used.add(job_id)

    def are_known(self, ids: Iterable[str]) -> bool:
        return all(job_id in self._loaded for job_id in ids)

    @property
    def mean_bytes(self) -> float:
        """Of the data of those that are loaded, about."""
        return self._bytes / max(len(self._loaded), 1)

    def load(self, where: str, *values: Any) -> list[Job]:
        """The jobs that a condition (and order, and limit) names, as they are now in this step."""
        self.flush()
        found: list[Job] = []
        for row in self._db.all(f"{SELECT} WHERE {where}", *values):
            found.append(self[row[1]] if row[1] in self._loaded else self._keep(row))
        return found

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
        self._used.add(job_id)
        self._bytes += len(job.data)
        self._loaded[job_id] = job
        job.dependencies = Edges(self._db, self, job_id)

    def __delitem__(self, job_id: str) -> None:
        job = self[job_id]
        self.gone[job_id] = job.number
        self._loaded[job_id] = None

    def flush(self) -> None:
        """Write what has changed."""
        deleted: list[tuple[str, int]] = []
        new, other = [], []
        changed: dict[str, list[tuple[Any, ...]]] = {}
        tried: list[tuple[int]] = []
        for job_id in self._used:
            job, row = self._loaded.get(job_id), self._rows.get(job_id)
            if row is not None and (job is None or job.number != row.number):
                deleted.append((job_id, row.number))
                tried += [(row.number,)] * row.may_have_attempts
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
                other.append((*given(job.new), job_id))
                row.new = job.new
            elif values == row.values and listed == row.listed:
                continue
            if listed == row.listed and stands(values) != stands(row.values):
                self.put_into(job_id, listed[0], listed[1])
                listed = self.listed[job_id]
            sql, written = _update(row, job, values, listed)
            if len(written) > 1:
                changed.setdefault(sql, []).append(written)
            row.values, row.listed = values, listed
        if deleted:
            self._db.many("DELETE FROM jobs WHERE id = ?", [(job_id,) for job_id, _ in deleted])
            self._db.many("DELETE FROM logs WHERE number = ?", [(number,) for _, number in deleted])
        if tried:
            self._db.many("DELETE FROM attempts WHERE number = ?", tried)
        if other:
            self._db.many(UPDATE_GIVEN, other)
        if new:
            self._db.many(INSERT, new)
        for sql, rows in changed.items():
            self._db.many(sql, rows)


def _update(row: _Row, job: Job, values: tuple[Any, ...], listed: Listed) -> tuple[str, tuple[Any, ...]]:
    """The statement that writes what has changed, and its values."""
    before = row.values
    places = tuple([place for place, value in enumerate(values) if value != before[place]])
    written = [values[place] for place in places]
    moved = listed != row.listed or job.state.finished
    if moved:
        written += (job.state.value, listed[2], expires_ms(job))
    return update_of(places, moved), (*written, job.new.id)
