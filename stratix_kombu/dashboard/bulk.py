"""An action on many jobs, a step at a time: a step takes about a second, and says where the next one begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stratix_kombu.dashboard import reading
from stratix_kombu.dashboard.filters import Which
from stratix_kombu.lifecycle.redrive import redrive

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.queue import Queue

Wanted = Callable[[Mapping[str, object]], bool]
STEP_S = 1.0
AT_ONCE = 500
"""Jobs that are read together."""


@dataclass(frozen=True, slots=True)
class ManyAction:
    """Something that is done to many jobs."""

    permission: str
    states: tuple[str, ...]
    do: Callable[[Queue, list[str]], int]
    """Does it to the jobs with these ids, and returns to how many; others have gone or changed their state."""
    label: str


MANY: Mapping[str, ManyAction] = {
    "retry": ManyAction("retry", ("failed",), lambda queue, ids: queue.retry_jobs(ids=ids), "Retry"),
    "promote": ManyAction("promote", ("delayed",), lambda queue, ids: queue.promote_jobs(ids=ids), "Run now"),
    "cancel": ManyAction(
        "cancel", ("waiting", "active", "delayed", "blocked"), lambda queue, ids: queue.cancel_jobs(ids=ids), "Cancel"
    ),
    "remove": ManyAction(
        "remove",
        ("waiting", "delayed", "blocked", "completed", "failed"),
        lambda queue, ids: queue.remove_jobs(ids=ids),
        "Remove",
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


def step(app: Application, queue: str, which: Which, do: ManyAction, cursor: str) -> Step:
    """Do it to some of the jobs that are meant."""
    deadline, done, refused = time.monotonic() + STEP_S, 0, 0
    while True:
        jobs, cursor, _ = reading.find(app, queue, which, cursor, AT_ONCE)
        count = do.do(app.queue.get_queue(queue), [job.id for job in jobs]) if jobs else 0
        done, refused = done + count, refused + len(jobs) - count
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
