"""An action on many jobs, a step at a time: a step takes about a second, and says where the next one begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stratix_kombu.dashboard import reading
from stratix_kombu.dashboard.filters import Which
from stratix_kombu.errors import InvalidJobState, JobNotFound
from stratix_kombu.lifecycle.redrive import redrive

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.job import Job

Wanted = Callable[[Mapping[str, object]], bool]
STEP_S = 1.0
AT_ONCE = 200
"""Jobs that are read together."""


@dataclass(frozen=True, slots=True)
class ManyAction:
    """Something that is done to many jobs."""

    permission: str
    states: tuple[str, ...]
    do: Callable[[Job], None]
    label: str


MANY: Mapping[str, ManyAction] = {
    "retry": ManyAction("retry", ("failed",), lambda job: job.retry(), "Retry"),
    "promote": ManyAction("promote", ("delayed",), lambda job: job.promote(), "Run now"),
    "cancel": ManyAction("cancel", ("waiting", "active", "delayed", "blocked"), lambda job: job.cancel(), "Cancel"),
    "remove": ManyAction(
        "remove", ("waiting", "delayed", "blocked", "completed", "failed"), lambda job: job.remove(), "Remove"
    ),
}


@dataclass(frozen=True, slots=True)
class Step:
    """What a step has done."""

    done: int
    """Jobs that it was done to."""
    refused: int
    """Jobs that had gone or changed their state meanwhile."""
    cursor: str
    """Where the next step begins; '' after the last one."""


def selected(app: Application, ids: list[str], do: Callable[[Job], None], queue: str) -> Step:
    """Do it to the jobs with these ids."""
    done = 0
    for record in app.queue.engine.store.queries.get(ids):
        done += record is not None and record.queue == queue and _do(do, app.queue.get_queue(queue).handle(record))
    return Step(done, len(ids) - done, "")


def step(app: Application, queue: str, which: Which, do: Callable[[Job], None], cursor: str) -> Step:
    """Do it to some of the jobs that are meant."""
    deadline, done, refused = time.monotonic() + STEP_S, 0, 0
    while True:
        jobs, cursor, _ = reading.find(app, queue, which, cursor, AT_ONCE)
        for job in jobs:
            fine = _do(do, job)
            done, refused = done + fine, refused + (not fine)
        if not cursor or time.monotonic() > deadline:
            return Step(done, refused, cursor)


def redrive_step(app: Application, queue: str, wanted: Wanted, cursor: str, begun_ms: int) -> Step:
    """Send some of the letters back that are wanted. Those that were added after the first step are of jobs that have
    failed again."""
    engine, deadline, done = app.queue.engine, time.monotonic() + STEP_S, 0
    while True:
        letters, cursor = reading.letters(app, queue, cursor, AT_ONCE)
        for record, letter in letters:
            done += record.created_ms <= begun_ms and wanted(letter) and redrive(engine, record, letter)
        if not cursor or time.monotonic() > deadline:
            return Step(done, 0, cursor)


def _do(do: Callable[[Job], None], job: Job) -> bool:
    try:
        do(job)
    except (InvalidJobState, JobNotFound):
        return False
    return True
