"""Flows: jobs that depend on each other, added together, and read back as a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Protocol

from stratix_kombu.config.options import snake_keys
from stratix_kombu.errors import ConfigurationError, DependencyCycle, StratixError
from stratix_kombu.foreign import FLOW
from stratix_kombu.hints import Hinted
from stratix_kombu.lifecycle.add import add, records_of
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.awaiting import NotAwaitable
from stratix_kombu.model.given import mapping
from stratix_kombu.model.record import JobRecord, NewJob
from stratix_kombu.model.state import State
from stratix_kombu.queue.job import Job

if TYPE_CHECKING:
    from stratix_kombu.aio import AsyncFlow
    from stratix_kombu.types import JobState

MAX_JOBS = 1_000_000
"""A larger flow is most likely a mistake."""
MAX_READ = 100_000
"""Jobs of a graph that are read back at most."""
READ_PAGE = 1_000

REMOVED = "removed"
"""In counts: jobs whose record no longer exists."""

NO_BRIDGE = "there is no Celery application: install the bridge with stratix_kombu.celery.install(celery_app)"
Export = Callable[["Flow"], Any]
_NODE = ("name", "queue", "queue_name", "data", "opts")


@dataclass(frozen=True, slots=True)
class Step:
    """One job of a flow before it has an id."""

    key: str
    where: str
    """For messages: which node this is."""
    queue: str
    name: Any
    data: Any
    options: Mapping[str, Any]
    after: tuple[str, ...] = ()
    """Keys of the steps it depends on."""
    others: tuple[Any, ...] = ()
    """Jobs or ids outside the flow on which it depends, too."""


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
    flow: Mapping[str, Any] | Sequence[Mapping[str, Any]],
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
    return Flow(handles, {new.id: new.dependencies for new in jobs}, export)


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


def plan(flow: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[Step]:
    """The steps of a tree or graph, dependencies first.

    Raises ConfigurationError, naming the node, and DependencyCycle.
    """
    steps = _tree(flow) if isinstance(flow, Mapping) else _graph(flow)
    if not 1 <= len(steps) <= MAX_JOBS:
        raise ConfigurationError(f"add_flow: a flow has 1 to {MAX_JOBS} jobs, not {len(steps)}")
    try:
        order = list(TopologicalSorter({key: step.after for key, step in steps.items()}).static_order())
    except CycleError as cycle:
        first, second = cycle.args[1][:2]
        raise DependencyCycle(first, second) from None
    return [steps[key] for key in order]


def _tree(root: Mapping[str, Any]) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    pending: list[tuple[str, Any]] = [("root", root)]
    while pending:
        key, node = pending.pop()
        given = _keys(node, (*_NODE, "children"), f"add_flow, {key}")
        children = given.get("children") or []
        if isinstance(children, (str, Mapping)) or not isinstance(children, Sequence):
            raise ConfigurationError(f"add_flow, {key}: 'children' must be a list of nodes, not {children!r}")
        keys = [f"{key}.children[{number}]" for number in range(len(children))]
        steps[key] = _step(key, f"add_flow, {key}", given, tuple(keys))
        pending += zip(keys, children, strict=True)
        if len(steps) + len(pending) > MAX_JOBS:
            raise ConfigurationError(f"add_flow: a flow has 1 to {MAX_JOBS} jobs, and this one has more")
    return steps


def _graph(nodes: Sequence[Mapping[str, Any]]) -> dict[str, Step]:
    if isinstance(nodes, (str, bytes)) or not isinstance(nodes, Sequence):
        raise ConfigurationError(f"add_flow: a flow is a tree (a mapping) or a graph (a list), not {nodes!r}")
    parsed: dict[str, dict[str, Any]] = {}
    for number, node in enumerate(nodes):
        given = _keys(node, (*_NODE, "key", "dependencies"), f"add_flow, node {number}")
        key = given.setdefault("key", f"node {number}")
        if not isinstance(key, str) or key in parsed:
            raise ConfigurationError(f"add_flow, node {number}: 'key' must be a unique name, not {key!r}")
        parsed[key] = given
    steps = {}
    for key, given in parsed.items():
        edges = given.get("dependencies") or []
        if isinstance(edges, (str, Mapping)) or not isinstance(edges, Sequence):
            raise ConfigurationError(f"add_flow, {key}: 'dependencies' must be a list of keys, jobs or ids")
        inner = tuple(edge for edge in edges if isinstance(edge, str) and edge in parsed)
        others = tuple(edge for edge in edges if not (isinstance(edge, str) and edge in parsed))
        steps[key] = _step(key, f"add_flow, {key}", given, inner, others)
    return steps


def _keys(node: object, known: Sequence[str], where: str) -> dict[str, Any]:
    given = snake_keys(mapping(node, f"{where}:", "with 'name' and 'queue'"), known, where)
    given["queue"] = given.pop("queue_name", None) or given.get("queue")
    if "name" not in given or not given["queue"]:
        raise ConfigurationError(f"{where}: must have 'name' and 'queue'")
    return given


def _step(key: str, where: str, given: Mapping[str, Any], after: tuple[str, ...], others: tuple[Any, ...] = ()) -> Step:
    options = given.get("opts") or {}
    if not isinstance(options, Mapping) or "dependencies" in options:
        raise ConfigurationError(f"{where}: 'opts' must be job options without 'dependencies', not {options!r}")
    return Step(key, where, given["queue"], given["name"], given.get("data"), options, after, others)
