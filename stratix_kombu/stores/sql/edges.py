"""Edges of the graph. They are written at once, for one step may look at many of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stratix_kombu.model.names import id_of
from stratix_kombu.stores.memory.graph import Edge, Outcome
from stratix_kombu.stores.sql.database import Database

if TYPE_CHECKING:
    from stratix_kombu.stores.sql.jobs import Jobs

SOME_EDGES = "SELECT 1 FROM edges LIMIT 1"
SOME_OUTCOMES = "SELECT 1 FROM outcomes LIMIT 1"
SOME_WORK = "SELECT 1 FROM worklist WHERE kind = ? LIMIT 1"


class _Edge(Edge):
    """Its state is written when it is set."""

    __slots__ = ("_at",)

    def __init__(self, edges: Edges, dependency: str, number: int, state: str) -> None:
        self._at: tuple[Edges, str] | None = None
        super().__init__(number, state)
        self._at = (edges, dependency)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "state" and self._at is not None:
            edges, dependency = self._at
            edges.write_state(dependency, value)


class Edges(dict[str, Edge]):
    """What one job depends on, by id: read one by one, or all when they are looked through."""

    def __init__(self, db: Database, jobs: Jobs, dependent: str) -> None:
        super().__init__()
        self._db = db
        self._jobs = jobs
        self._dependent = dependent

    def write_state(self, dependency: str, state: str) -> None:
        self._db.put(
            "UPDATE edges SET state = ? WHERE dependent = ? AND dependency = ?", state, self._dependent, dependency
        )

    def get(self, dependency: str, default: Any = None) -> Any:
        found = super().get(dependency)
        if found is None:
            row = self._db.one(
                "SELECT dependency_number, state FROM edges WHERE dependent = ? AND dependency = ?",
                self._dependent,
                dependency,
            )
            if row is None:
                return default
            found = _Edge(self, dependency, *row)
            super().__setitem__(dependency, found)
        return found

    def __contains__(self, dependency: object) -> bool:
        return self.get(str(dependency)) is not None

    def __getitem__(self, dependency: str) -> Edge:
        found = self.get(dependency)
        if found is None:
            raise KeyError(dependency)
        edge: Edge = found
        return edge

    def __setitem__(self, dependency: str, edge: Edge) -> None:
        super().__setitem__(dependency, _Edge(self, dependency, edge.number, edge.state))
        self._jobs.some_edges = True
        self._db.put(
            "INSERT INTO edges (dependent, dependency, place, dependency_number, state) VALUES (?, ?, ?, ?, ?)",
            self._dependent,
            dependency,
            self._jobs.next_move(),
            edge.number,
            edge.state,
        )

    def __delitem__(self, dependency: str) -> None:
        super().pop(dependency, None)
        self._db.put("DELETE FROM edges WHERE dependent = ? AND dependency = ?", self._dependent, dependency)

    def pop(self, dependency: str, *default: Any) -> Any:
        edge = self[dependency]
        del self[dependency]
        return edge

    def items(self) -> Any:
        return list(self._each())

    def _each(self) -> Iterator[tuple[str, Edge]]:
        sql = "SELECT dependency, dependency_number, state FROM edges WHERE dependent = ? ORDER BY place"
        for dependency, number, state in self._db.all(sql, self._dependent):
            edge = super().get(dependency)
            if edge is None:
                edge = _Edge(self, dependency, number, state)
                super().__setitem__(dependency, edge)
            yield dependency, edge


class Dependents:
    """The dependents of a job, by its name, that are to be released."""

    def __init__(self, db: Database, jobs: Jobs, outcomes: Outcomes) -> None:
        self._db = db
        self._jobs = jobs
        self._outcomes = outcomes

    def number_of(self, name: str) -> int:
        """Which job it is; 0 if nothing is known of it."""
        if name.startswith("\n"):
            return int(name[1 : name.index(":")])
        job = self._jobs.get(name)
        if job is not None:
            return job.number
        outcome = self._outcomes.get(name)
        return outcome.number if outcome is not None else self._jobs.gone.get(name, 0)

    def get(self, name: str, default: Any = None) -> Any:
        """Whether there are any."""
        return name in self or default

    def __contains__(self, name: str) -> bool:
        return self.is_any(self.number_of(name))

    def is_any(self, number: int) -> bool:
        if self._jobs.some_edges is None:
            self._jobs.some_edges = self._db.one(SOME_EDGES) is not None
        if not self._jobs.some_edges:
            return False
        sql = "SELECT 1 FROM edges WHERE dependency_number = ? AND told IS NOT NULL LIMIT 1"
        return self._db.one(sql, number) is not None

    def __getitem__(self, name: str) -> _Told:
        return _Told(self._db, id_of(name), self.number_of(name))

    def page(self, name: str, told: bool, limit: int) -> list[str]:
        sql = "SELECT dependent FROM edges WHERE dependency_number = ? AND told = ? ORDER BY dependent LIMIT ?"
        return [one for (one,) in self._db.all(sql, self.number_of(name), told, limit)]


class _Told:
    """Whether dependents of one job were told."""

    def __init__(self, db: Database, dependency: str, number: int) -> None:
        self._db = db
        self._dependency = dependency
        self._number = number

    def __setitem__(self, dependent: str, told: bool) -> None:
        sql = "UPDATE edges SET told = ? WHERE dependent = ? AND dependency = ? AND dependency_number = ?"
        self._db.put(sql, told, dependent, self._dependency, self._number)


class Outcomes:
    """How removed jobs have ended, by name."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._some: bool | None = None
        """Whether there is any; None = it was not looked."""

    def begin(self, same: bool) -> None:
        """A step begins; ``same``: what was read is as it was."""
        self._some = self._some if same else None

    def get(self, name: str, default: Any = None) -> Any:
        if self._some is None:
            self._some = self._db.one(SOME_OUTCOMES) is not None
        if not self._some:
            return default
        row = self._db.one("SELECT state, result, reason, number, gate FROM outcomes WHERE name = ?", name)
        if row is None:
            return default
        state, result, reason, number, gate = row
        return Outcome(state, result, reason, number, bool(gate))

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __setitem__(self, name: str, one: Outcome) -> None:
        self._some = True
        self._db.put(
            "INSERT INTO outcomes (name, state, result, reason, number, gate) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET state = excluded.state, result = excluded.result, "
            "reason = excluded.reason, number = excluded.number, gate = excluded.gate",
            name,
            one.state,
            one.result,
            one.reason,
            one.number,
            one.gate,
        )

    def name_of(self, number: int) -> str | None:
        row = self._db.one("SELECT name FROM outcomes WHERE number = ?", number)
        return None if row is None else row[0]


class Worklist:
    """Jobs whose dependents are to be told, the first one first."""

    def __init__(self, db: Database, kind: str) -> None:
        self._db = db
        self._kind = kind
        self._some: bool | None = None

    def begin(self, same: bool) -> None:
        """A step begins; ``same``: what was read is as it was."""
        self._some = self._some if same else None

    def __bool__(self) -> bool:
        if self._some is None:
            self._some = self._db.one(SOME_WORK, self._kind) is not None
        return self._some

    def __iter__(self) -> Iterator[str]:
        row = self._db.one("SELECT name FROM worklist WHERE kind = ? ORDER BY seq LIMIT 1", self._kind)
        return iter(() if row is None else row)

    def __setitem__(self, name: str, nothing: None) -> None:
        self._some = True
        sql = "INSERT INTO worklist (kind, name) VALUES (?, ?) ON CONFLICT (kind, name) DO NOTHING"
        self._db.put(sql, self._kind, name)

    def pop(self, name: str, default: Any = None) -> None:
        if not self:
            return
        self._some = None
        self._db.put("DELETE FROM worklist WHERE kind = ? AND name = ?", self._kind, name)


class Roots:
    """Roots of flows, and their numbers."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def __setitem__(self, job_id: str, number: int) -> None:
        sql = "INSERT INTO flows (id, number) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET number = excluded.number"
        self._db.put(sql, job_id, number)

    def pop(self, job_id: str, default: Any = None) -> None:
        self._db.put("DELETE FROM flows WHERE id = ?", job_id)
