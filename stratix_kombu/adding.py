"""Adding jobs from coroutines: jobs added in the same turn of an event loop go to the store together."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from stratix_kombu.errors import DependencyNotFound, JobIdTaken, StratixError
from stratix_kombu.lifecycle.add import ONE_STEP, add, record_of, records_of
from stratix_kombu.model.record import NewJob, Placed

if TYPE_CHECKING:
    from stratix_kombu.queue.job import Job
    from stratix_kombu.queue.queue import Queue

ONE_STEP_BYTES = 256 * 1024
"""The most data that goes to the store in one step; a job with more goes alone."""


class Adding(NamedTuple):
    """One call of ``queue.aio.add``."""

    queue: Queue
    name: Any
    data: Any
    opts: Mapping[str, Any] | None
    options: Mapping[str, Any]


def add_each(calls: Sequence[Adding]) -> list[Job | BaseException]:
    """For each call its job, or what it raises, as if the calls had been made one after the other. All are calls of one
    application. Once the store cannot be reached, the remaining calls are not tried: each would wait as long again."""
    answers: dict[int, Job | BaseException] = {}
    jobs: dict[int, NewJob] = {}
    for at, call in enumerate(calls):
        try:
            jobs[at] = call.queue.to_add(call.name, call.data, call.opts, call.options)
        except Exception as problem:
            answers[at] = problem
    try:
        for step in _steps(jobs):
            _add(calls, step, answers)
    except Exception as problem:
        answers.update((at, _own(problem)) for at in jobs if at not in answers)
    return [answers[at] for at in range(len(calls))]


def _own(problem: Exception) -> Exception:
    """The error for one of several tasks, each of which needs its own traceback."""
    if not isinstance(problem, StratixError):  # other errors may not support copying
        return problem
    twin = copy.copy(problem)
    twin.__cause__ = problem.__cause__
    return twin.with_traceback(problem.__traceback__)


def _steps(jobs: Mapping[int, NewJob]) -> Iterator[dict[int, NewJob]]:
    """Batches that can go to the store at once: not too large, and without an id twice, since answers are by id."""
    step: dict[int, NewJob] = {}
    ids: set[str] = set()
    weight = size = 0
    for at, job in jobs.items():
        weight += 1 + len(job.dependencies)
        size += len(job.data)
        if step and (weight > ONE_STEP or size > ONE_STEP_BYTES or job.id in ids):
            yield step
            step, ids, weight, size = {}, set(), 1 + len(job.dependencies), len(job.data)
        step[at] = job
        ids.add(job.id)
    if step:
        yield step


def _add(calls: Sequence[Adding], step: Mapping[int, NewJob], answers: dict[int, Job | BaseException]) -> None:
    """Add them in one step. If one of them cannot be added, none was; it is then found by bisection."""
    engine = calls[0].queue._engine
    try:
        added = add(engine, list(step.values()))
    except (DependencyNotFound, JobIdTaken) as problem:
        if len(step) == 1:
            answers.update((at, problem) for at in step)
            return
        half, places = len(step) // 2, list(step)
        for some in (places[:half], places[half:]):
            _add(calls, {at: step[at] for at in some}, answers)
        return
    unclear: dict[int, Placed | None] = {}
    for (at, job), placed in zip(step.items(), added.placed, strict=True):
        if placed is None or placed.state.finished:
            unclear[at] = placed
        else:
            answers[at] = calls[at].queue.handle(record_of(job, placed))
    if unclear:
        records = records_of(engine, [step[at] for at in unclear], list(unclear.values()), added.instead)
        answers.update((at, calls[at].queue.handle(record)) for at, record in zip(unclear, records, strict=True))
