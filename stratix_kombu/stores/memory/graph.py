"""Which jobs depend on which, and what is left of those that were removed. Edges are of jobs, not of ids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stratix_kombu.model.names import incarnation, is_gate


@dataclass(slots=True)
class Edge:
    """A dependency, as the dependent knows it."""

    number: int
    """Which job of that id it is."""
    state: str = ""
    """'' while it has not finished, then 'completed', 'failed' or 'removed'."""


@dataclass(slots=True)
class Outcome:
    """How a job ended, which its dependents may read after its record was removed."""

    state: str
    result: str | None = None
    reason: str = ""
    number: int = 0
    gate: bool = False
    finished_ms: int = 0
    """Not kept once the record was removed."""


class Graph:
    """The edges of one namespace, as dependencies know them."""

    def __init__(self) -> None:
        self.dependents: dict[str, dict[str, bool]] = defaultdict(dict)
        """Per dependency: its dependents, and whether they have been released. Here, in ``outcomes`` and in the work
        lists, what is left of a job whose id another job has now is kept under a separate name."""
        self.outcomes: dict[str, Outcome] = {}
        """Of removed jobs that still have dependents."""
        self.roots: dict[str, int] = {}
        """Roots of flows, and their numbers."""
        self.releasing: dict[str, None] = {}
        self.reviving: dict[str, None] = {}

    def join_flow(self, job_id: str, number: int, dependencies: Iterable[str], is_new: bool = False) -> None:
        """A job has been given dependencies: it is the root of a flow unless a job depends on it, as none does on a new
        one, and they are none any more."""
        below = [one for one in dependencies if not is_gate(one)]
        for one in below:
            self.roots.pop(one, None)
        if below and (is_new or not self.dependents.get(job_id)):
            self.roots[job_id] = number

    def forget_edges(self, dependent: str, edges: Mapping[str, Edge]) -> None:
        if edges:
            self.roots.pop(dependent, None)
        for dependency, edge in edges.items():
            self.forget_edge(dependent, dependency, edge.number)

    def forget_edge(self, dependent: str, dependency: str, number: int) -> None:
        name = self.place_of(dependency, number)
        edges = self.dependents.get(name)
        if edges is None:
            return
        edges.pop(dependent, None)
        if not edges:
            del self.dependents[name]
            self.outcomes.pop(name, None)
            self.releasing.pop(name, None)

    def dependents_of(self, name: str, told: bool, limit: int) -> list[str]:
        """The first dependents that have been released, or have not."""
        edges = self.dependents.get(name, {})
        return sorted(dependent for dependent, flag in edges.items() if flag is told)[:limit]

    def mark_told(self, name: str, dependent: str, told: bool) -> None:
        self.dependents[name][dependent] = told

    def place_of(self, dependency: str, number: int) -> str:
        """The name of the dependency at the other end of an edge: its id, or that of what is left of it."""
        name = incarnation(dependency, number)
        return name if name in self.dependents else dependency

    def set_aside(self, job_id: str) -> None:
        """The id is about to be used again: rename what is left of the job that had it."""
        if job_id in self.outcomes:
            name = incarnation(job_id, self.outcomes[job_id].number)
            self.outcomes[name] = self.outcomes.pop(job_id)
            self.dependents[name] = self.dependents.pop(job_id)
            for worklist in (self.releasing, self.reviving):
                if job_id in worklist:
                    worklist[name] = worklist.pop(job_id)
