"""Jobs that are to be added together: those of one canvas, or the continuations of one task."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Any

from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.record import NewJob

_local = threading.local()


def results_in(signature: Any) -> Iterator[tuple[str, str]]:
    """Ids of jobs, and names, of all tasks that a signature (or its dict) will publish and whose results others may
    want: of a chord its body's, of a group and a chain all. Freezing has given them their ids."""
    if not isinstance(signature, Mapping):
        return
    options, kind = signature.get("options") or {}, signature.get("subtask_type")
    if kind == "chord":
        yield from results_in(signature["kwargs"].get("body"))
    elif kind in ("group", "chain"):
        for one in signature["kwargs"].get("tasks") or ():
            yield from results_in(one)
    elif options.get("task_id"):
        yield task_job_id(options["task_id"]), str(signature.get("task"))
    for one in options.get("chain") or ():
        yield from results_in(one)


def leaves(tree: Any) -> Iterator[str]:
    """The ids in nested lists of ids."""
    if isinstance(tree, str):
        yield tree
    else:
        for one in tree:
            yield from leaves(one)


@dataclass(slots=True)
class Collector:
    """What was published within one scope, in order."""

    owner: str = ""
    """The job whose end will add these: what it leaves undone fails because of it."""
    jobs: list[NewJob] = field(default_factory=list)
    joins: list[NewJob] = field(default_factory=list)
    later: list[NewJob] = field(default_factory=list)
    deferred: list[Callable[[], object]] | None = None
    """If it is a list: what is no job is not sent, but left here to be sent."""
    after: list[Callable[[], object]] = field(default_factory=list)
    """Called once the jobs are added."""
    names: dict[str, str] = field(default_factory=dict)
    """Task names of ids that are carried."""
    pages: bool = False
    """Whether what has been collected may be added before the rest is there."""

    def turn(self) -> None:
        """A new page: what was collected has been added."""
        self.jobs, self.later, self.names = [], [], {}

    def fail(self, job_id: str, name: str = "") -> None:
        """This job will not be run: it fails with its owner."""
        name = name or "never sent"
        self.jobs.append(NewJob(id=job_id, queue="", name=name, vacant=True, dependencies=(self.owner,), anew=True))

    def show_what_is_carried(self, known: str = "") -> None:
        """A placeholder for everything that is to be published later, one after the other."""
        found = {known, *(job.id for job in (*self.jobs, *self.joins))}
        for job in (*self.jobs, *self.joins):
            before = job
            for carried in job.carries:
                if carried not in found:
                    found.add(carried)
                    name = self.names.get(carried, "awaited")
                    before = NewJob(
                        id=carried, queue=job.queue, name=name, vacant=True, dependencies=(before.id,), anew=True
                    )
                    self.later.append(before)

    def finish(self, queue: str = "") -> tuple[NewJob, ...]:
        """All jobs, dependencies first. What a join waits for and nobody has sent yet gets a placeholder that depends
        on the job which will send it. ``queue`` is that of placeholders that have no other."""
        found = {job.id: job for job in (*self.jobs, *self.joins, *self.later)}
        carriers = {carried: job for job in (*self.jobs, *self.joins) for carried in job.carries}
        for join in self.joins:
            for wanted in join.dependencies:
                carrier = carriers.get(wanted)
                if wanted not in found and carrier is not None:
                    name = self.names.get(wanted, "awaited")
                    found[wanted] = NewJob(
                        id=wanted, queue=carrier.queue, name=name, vacant=True, dependencies=(carrier.id,), anew=True
                    )
        if self.joins or self.later:
            edges = {one: [other for other in job.dependencies if other in found] for one, job in found.items()}
            found = {one: found[one] for one in TopologicalSorter(edges).static_order()}
        return tuple(job if job.queue else replace(job, queue=queue) for job in found.values())


def current() -> Collector | None:
    """The innermost collector of this thread."""
    stack = getattr(_local, "stack", None)
    return stack[-1] if stack else None


@contextmanager
def collecting(owner: str = "") -> Iterator[Collector]:
    """Keep what this thread publishes within the block."""
    stack: list[Collector] = _local.__dict__.setdefault("stack", [])
    stack.append(Collector(owner))
    try:
        yield stack[-1]
    finally:
        stack.pop()
