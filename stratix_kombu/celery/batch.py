"""Batches: jobs that are added together, those of one canvas or the continuations of one task."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from graphlib import TopologicalSorter
from typing import Any, TypeVar

from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.record import NewJob

PAGE = 500
"""So many tasks of a group without a body are added in one step."""
PAGE_S = 0.25
"""How long tasks of a group are collected if creating them takes time."""
AWAITED, NEVER_SENT = "awaited", "never sent"
"""Names of placeholders whose task is not known."""
_local = threading.local()
Scope = TypeVar("Scope", bound="Batch")


def results_in(signature: Any) -> list[tuple[str, str]]:
    """Ids of jobs, and names, of all tasks that a signature (or its dict) will publish and whose results others may
    want: of a chord its body's, of a group and a chain all. Freezing has given them their ids."""
    found: list[tuple[str, str]] = []
    _find_results(signature, found)
    return found


def _find_results(signature: Any, found: list[tuple[str, str]]) -> None:
    if not isinstance(signature, (dict, Mapping)):  # to tell a dict is quick
        return
    options, kind = signature.get("options") or {}, signature.get("subtask_type")
    if kind == "chord":
        _find_results(signature["kwargs"].get("body"), found)
    elif kind == "group" or kind == "chain":
        for task in signature["kwargs"].get("tasks") or ():
            _find_results(task, found)
    elif options.get("task_id"):
        found.append((task_job_id(options["task_id"]), str(signature.get("task"))))
    for task in options.get("chain") or ():
        _find_results(task, found)


def awaited_in(signature: Any) -> Iterator[str]:
    """Ids of those of its results for which a join waits."""
    options, kind = signature.get("options") or {}, signature.get("subtask_type")
    if kind == "chord":
        yield from awaited_in(signature["kwargs"].get("body") or {})
    elif kind in ("group", "chain"):
        for task in signature["kwargs"].get("tasks") or ():
            yield from awaited_in(task)
    elif options.get("task_id") and options.get("chord"):
        yield task_job_id(options["task_id"])
    for task in options.get("chain") or ():
        yield from awaited_in(task)


def first_of(signature: Mapping[str, Any]) -> Any:
    """The task that a chain, a group or a chord begins with; None for one that is a task itself."""
    kind, kwargs = signature.get("subtask_type"), signature.get("kwargs") or {}
    if kind == "chord":
        return kwargs.get("body")
    tasks = kwargs.get("tasks") if kind in ("chain", "group") else None
    return tasks[0] if isinstance(tasks, (list, tuple)) and tasks else None


def leaves(tree: Any) -> Iterator[str]:
    """The ids in nested lists of ids."""
    if isinstance(tree, str):
        yield tree
    else:
        for branch in tree:
            yield from leaves(branch)


class Batch:
    """What is published within one scope, in order; it is added in one step at the end. Our own functions receive it as
    an argument; ``current`` is for functions that Celery calls."""

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self.joins: list[NewJob] = []
        self.after: list[Callable[[], object]] = []
        """Called once the jobs are added."""
        self._names: dict[str, str] = {}
        """Task names of ids that are carried."""
        self._placeholders: list[NewJob] = []

    def put(self, job: NewJob, carried: Iterable[tuple[str, str]] = ()) -> None:
        """Add a job; ``carried`` are the ids and names of the jobs that it will publish when it ends."""
        self.jobs.append(job)
        self._names.update(carried)

    def put_join(self, join: NewJob, carried: Iterable[tuple[str, str]]) -> None:
        """Add the join of a chord."""
        self.joins.append(join)
        self._names.update(carried)

    def send(self, send: Callable[[], object]) -> None:
        """Send a message that is not a job."""
        send()

    def show_what_is_carried(self, known: str = "") -> None:
        """Placeholders for everything that will be published later, one after the other."""
        shown = {known, *(job.id for job in (*self.jobs, *self.joins))}
        for job in (*self.jobs, *self.joins):
            before = job
            for carried in job.carries:
                if carried not in shown:
                    shown.add(carried)
                    before = self._placeholder(carried, job.queue, before.id)
                    self._placeholders.append(before)

    def finish(self, queue: str = "") -> tuple[NewJob, ...]:
        """All jobs, dependencies first. A dependency of a join that has not been sent yet gets a placeholder, which
        depends on the job that will send it. ``queue`` is used for placeholders without one."""
        jobs = {job.id: job for job in (*self.jobs, *self.joins, *self._placeholders)}
        carriers: dict[str, NewJob] = {}
        if self.joins:
            carriers = {carried: job for job in (*self.jobs, *self.joins) for carried in job.carries}
        for join in self.joins:
            for wanted in join.dependencies:
                carrier = carriers.get(wanted)
                if wanted not in jobs and carrier is not None:
                    jobs[wanted] = self._placeholder(wanted, carrier.queue, carrier.id)
        if self.joins or self._placeholders:
            edges = {job_id: [before for before in job.dependencies if before in jobs] for job_id, job in jobs.items()}
            jobs = {job_id: jobs[job_id] for job_id in TopologicalSorter(edges).static_order()}
        return tuple(job if job.queue else replace(job, queue=queue) for job in jobs.values())

    def _placeholder(self, job_id: str, queue: str, carrier: str) -> NewJob:
        name = self._names.get(job_id, AWAITED)
        return NewJob(id=job_id, queue=queue, name=name, vacant=True, dependencies=(carrier,), anew=True)


class Continuation(Batch):
    """What is published while a job ends: it is added in the step that ends it."""

    def __init__(self, job_id: str) -> None:
        super().__init__()
        self._job_id = job_id

    def fail(self, job_id: str, name: str = "") -> None:
        """This job will not be run: it fails with the one that ends."""
        failed = NewJob(
            id=job_id, queue="", name=name or NEVER_SENT, vacant=True, dependencies=(self._job_id,), anew=True
        )
        self.jobs.append(failed)


class Pages(Batch):
    """A batch of which a page at a time may be added before the rest is there: the first ones run while the others are
    still being made."""

    def __init__(self, add: Callable[[tuple[NewJob, ...]], object]) -> None:
        super().__init__()
        self._add = add
        self._added = time.monotonic()
        self._sent = 0
        self.at_end: Callable[[], object] | None = None
        """Puts the join of a header that is still being made, of which no task may be gone until then."""

    def put(self, job: NewJob, carried: Iterable[tuple[str, str]] = ()) -> None:
        super().put(job, carried)
        size = PAGE if self.at_end is None else min(self._sent // 8 + 1, PAGE)  # the first ones by themselves
        if (len(self.jobs) >= size or time.monotonic() - self._added >= PAGE_S) and not self.joins:
            self._add_page()
            self._sent += len(self.jobs)
            self.jobs, self._placeholders, self._names = [], [], {}
            self._added = time.monotonic()

    def end(self) -> None:
        """All has been published, within the scope."""
        if self.at_end is not None:
            self.at_end()

    def close(self) -> None:
        """Add what is left, and run what must follow it."""
        self._add_page()
        for call in self.after:
            call()

    def _add_page(self) -> None:
        self.show_what_is_carried()
        self._add(self.finish())


class Unsent(Batch):
    """A batch that sends nothing: its owner decides later what happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent: list[Callable[[], object]] = []

    def send(self, send: Callable[[], object]) -> None:
        self.unsent.append(send)


def current() -> Batch | None:
    """The innermost batch of this thread, for what Celery calls: ``send_task``, and the methods of a backend."""
    stack = getattr(_local, "stack", None)
    return stack[-1] if stack else None


@contextmanager
def within(batch: Scope) -> Iterator[Scope]:
    """Have what this thread publishes within the block put into the batch."""
    stack: list[Batch] = _local.__dict__.setdefault("stack", [])
    stack.append(batch)
    try:
        yield batch
    finally:
        stack.pop()
