"""Add jobs: new -> waiting, delayed or blocked."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from stratix_kombu.errors import JobError, StratixError
from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.names import gate_id
from stratix_kombu.model.record import ANY_CLAIM, GATE, KEEP_NONE, Added, Change, Completion, NewJob, Placed

ONE_STEP = 5_000
"""More jobs than this that belong together are added in pages, behind a gate."""
GATE_MS = 600_000
"""A gate that its process does not open in this time has failed, and what is behind it."""


def add(engine: Engine, jobs: Sequence[NewJob]) -> Added:
    """Add all of the jobs or none, and dispatch those that are ready."""
    engine.check_open("add jobs")
    added = engine.store.transitions.add(jobs)
    settle(engine, Change(ready=added.ready, more=added.more))
    if any(job.delay_ms or job.due_ms for job in jobs):
        engine.wake_clock()
    return added


def add_together(engine: Engine, jobs: Sequence[NewJob]) -> Added:
    """As ``add``, for any number: none of them starts before all are there, and none stays if one cannot be added.

    Large ones go page by page; what has no dependency meanwhile depends on a gate, which opens at the end. A process
    that dies before leaves a gate that fails, and with it what is behind it.
    """
    if len(jobs) <= ONE_STEP:
        return add(engine, jobs)
    gate = NewJob(
        id=gate_id(str(uuid.uuid4())), queue=jobs[0].queue, name="stratix.gate", kind=GATE, vacant=True,
        delay_ms=GATE_MS, keep_completed=KEEP_NONE, keep_failed=KEEP_NONE,
    )  # fmt: skip
    add(engine, [gate])
    duplicates: set[str] = set()
    placed: list[Placed | None] = []
    added: list[str] = []
    try:
        for start in range(0, len(jobs), ONE_STEP):
            page = jobs[start : start + ONE_STEP]
            behind = [one if one.dependencies else replace(one, dependencies=(gate.id,)) for one in page]
            answer = add(engine, behind)
            known = answer.duplicates
            duplicates |= known
            placed += answer.placed
            added += [one.id for one in page if one.id not in known]
    except StratixError:
        for job_id in (*reversed(added), gate.id):
            with suppress(JobError):
                settle(engine, engine.store.transitions.remove(job_id))
        raise
    settle(engine, engine.store.transitions.complete([Completion(gate.id, ANY_CLAIM, "null")]))
    return Added(tuple(placed), frozenset(duplicates))
