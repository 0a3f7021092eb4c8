"""Flows: jobs that depend on each other, added together, and read back as a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, Protocol

from stratix_kombu.errors import ConfigurationError, StratixError
from stratix_kombu.foreign import FLOW
from stratix_kombu.hints import Hinted
from stratix_kombu.lifecycle.add import add, records_of
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.awaiting import NotAwaitable
from stratix_kombu.model.flow_plan import plan
from stratix_kombu.model.record import JobRecord, NewJob
from stratix_kombu.model.state import State
from stratix_kombu.queue.job import Job

if TYPE_CHECKING:
    from stratix_kombu.aio import AsyncFlow
    from stratix_kombu.types import JobState

MAX_READ = 100_000
"""Jobs of a graph that are read back at most."""
READ_PAGE = 1_000

REMOVED = "removed"
"""In counts: jobs whose record no longer exists."""

NO_BRIDGE = "there is no Celery application: install the bridge with stratix_kombu.celery.install(celery_app)"
Export = Callable[["Flow"], Any]


class Flow(NotAwaitable, Hinted):
    """Jobs of one flow and the edges between them; what ``add_flow`` and ``get_flow`` return."""

    _foreign = FLOW
    _meant = "write 'await app.queue.aio.add_flow(...)', or 'get_flow' there"

    def __init__(
        self, jobs: Iterable[Job], dependencies: Mapping[str, tuple[str, ...]], export: Export | None = None
    ) -> None:
        self._export = export
        self.jobs: dict[str, Job] = {job.id: job for job in jobs}
        """By id; dependencies come before their dependents."""
        self.dependencies: dict[str, tuple[str, ...]] = dict(dependencies)
        """Per job: ids of the jobs it depends on."""

    def __repr__(self) -> str:
        return f"<Flow of {len(self.jobs)} jobs, roots {[job.id for job in self.roots]}>"

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs.values())

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def roots(self) -> list[Job]:
        """The jobs on which no other job of the flow depends: the last to run."""
        needed = {job_id for ids in self.dependencies.values() for job_id in ids}
        return [job for job in self.jobs.values() if job.id not in needed]

    @property
    def root(self) -> Job:
        """The one root of a tree. Raises ConfigurationError if there are several."""
        roots = self.roots
        if len(roots) != 1:
            raise ConfigurationError(f"the flow has {len(roots)} roots, not one: see 'roots'")
        return roots[0]

    def to_canvas(self) -> Any:
        """The flow as a Celery signature, of chains, groups and chords.

        Its jobs must be Celery tasks, or have the name of one. Raises ConfigurationError without a bridge, and for a
        graph that no canvas can express, naming the edge that prevents it.

        >>> app.queue.get_flow(job).to_canvas()  # doctest: +SKIP
        """
        if self._export is None:
            raise ConfigurationError(NO_BRIDGE)
        return self._export(self)

    def states(self) -> dict[str, JobState]:
        """The state of each job when it was read, by id."""
        return {job_id: job.state for job_id, job in self.jobs.items()}

    def counts(self) -> dict[str, int]:
        """The number of its jobs in each state now, zeros included; jobs whose record no longer exists are counted as
        ``removed``. A large flow is read page by page, not at one instant. Raises StoreUnavailable.

        >>> app.queue.get_flow(job).counts()  # doctest: +SKIP
        {'waiting': 2, 'active': 1, 'delayed': 0, 'blocked': 3, 'completed': 14, 'failed': 0, 'removed': 0}
        """
        counts = {**dict.fromkeys((state.value for state in State), 0), REMOVED: 0}
        ids = list(self.jobs)
        for start in range(0, len(ids), READ_PAGE):
            for state in self._engine.store.queries.states(ids[start : start + READ_PAGE]):
                counts[state.value if state else REMOVED] += 1
        return counts

    @property
    def aio(self) -> AsyncFlow:
        """The same methods for asyncio."""
        from stratix_kombu.aio import AsyncFlow

        return AsyncFlow(self, self._engine.calls)

    @property
    def _engine(self) -> Engine:
        return next(iter(self.jobs.values()))._runtime.engine


class JobQueue(Protocol):
    """What a flow needs of a queue."""

    def new_job(self, name: Any, data: Any, given: Mapping[str, Any]) -> NewJob: ...

    def handle(self, record: JobRecord) -> Job: ...


def add_flow(
    engine: Engine,
    flow: Mapping[str, Any] | Iterable[Mapping[str, Any]],
    get_queue: Callable[[str], JobQueue],
    export: Export | None,
) -> Flow:
    """See ``QueueManager.add_flow``."""
    ids: dict[str, str] = {}
    planned: list[tuple[JobQueue, NewJob]] = []
    for step in plan(flow):
        options = {**step.options, "dependencies": [*(ids[key] for key in step.after), *step.others]}
        try:
            queue = get_queue(step.queue)
            new = queue.new_job(step.name, step.data, options)
        except StratixError as problem:
            problem.args = (f"{step.where}: {problem}",)
            raise
        ids[step.key] = new.id
        planned.append((queue, new))
    jobs = [new for _, new in planned]
    answer = add(engine, jobs)
    records = records_of(engine, jobs, answer.placed, answer.instead)
    handles = (queue.handle(record) for (queue, _), record in zip(planned, records, strict=True))
    return Flow(handles, _edges(jobs, dict(answer.instead)), export)


def _edges(jobs: Iterable[NewJob], instead: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What each job of a new flow depends on; one that was there before does not depend on the flow."""
    edges: dict[str, tuple[str, ...]] = {}
    for new in jobs:
        if new.id in instead:
            edges.setdefault(instead[new.id], ())
        else:
            edges[new.id] = tuple(dict.fromkeys(instead.get(one, one) for one in new.dependencies))
    return edges


def get_flow(engine: Engine, job_id: str, get_queue: Callable[[str], JobQueue], export: Export | None) -> Flow | None:
    """See ``QueueManager.get_flow``."""
    if engine.store.queries.get([job_id]) == [None]:
        return None
    graph = read_graph(engine, job_id)
    records = [record for record in engine.store.queries.get(list(graph)) if record is not None]
    jobs = [get_queue(record.queue).handle(record) for record in records]
    kept = {job.id for job in jobs}
    edges = {
        kept_id: tuple(before for before in dependencies if before in kept)
        for kept_id, dependencies in graph.items()
        if kept_id in kept
    }
    return Flow(jobs, edges, export)


def read_graph(engine: Engine, job_id: str) -> dict[str, tuple[str, ...]]:
    """Ids of all jobs connected with this one, in order, with the ids each depends on.

    Raises ConfigurationError for a graph that is too large.
    """
    graph: dict[str, tuple[str, ...]] = {}
    seen, pending = {job_id}, [job_id]
    while pending:
        page, pending = pending[:READ_PAGE], pending[READ_PAGE:]
        for one, (before, after) in zip(page, engine.store.queries.edges(page), strict=True):
            graph[one] = tuple(before)
            new = [other for other in (*graph[one], *after) if other not in seen]
            seen.update(new)
            pending += new
        if len(seen) > MAX_READ:
            raise ConfigurationError(f"the graph around job {job_id!r} has more than {MAX_READ} jobs")
    return {node: graph[node] for node in TopologicalSorter(graph).static_order()}
