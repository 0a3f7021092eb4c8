"""Attempts that have ended, of jobs that go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stratix_kombu.model.attempts import ATTEMPTS_KEPT, Kept, kept_of, last_of
from stratix_kombu.model.state import State

if TYPE_CHECKING:
    from stratix_kombu.stores.memory.state import Job, Space


class Attempts:
    """Where they are kept."""

    def of(self, job: Job) -> list[Kept]:
        """Those of a job, oldest first."""
        return job.attempts

    def last_number(self, job: Job) -> int:
        """The number of the newest one; 0 if there is none."""
        return job.attempts[-1][0] if job.attempts else 0

    def append(self, job: Job, kept: Kept) -> None:
        job.attempts.append(kept)
        del job.attempts[:-ATTEMPTS_KEPT]


def keep_attempt(space: Space, job: Job, outcome: str, reason: str = "", stacktrace: str = "") -> None:
    """An attempt has ended, unless the job was not active, and the job goes on."""
    if job.state is State.ACTIVE:
        space.attempts.append(job, kept_of(job.record(), space.now(), outcome, reason, stacktrace))


def keep_last(space: Space, job: Job) -> None:
    """A job that has ended will run again: keep the attempt that it ended with."""
    record = job.record()
    last = last_of(record, space.attempts.last_number(job))
    if last is not None:
        space.attempts.append(job, kept_of(record, record.finished_ms, *last))
