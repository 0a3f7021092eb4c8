"""Answers of a page each; see ``stratix_kombu.types``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stratix_kombu.model.finding import ReasonGroup
    from stratix_kombu.queue.job import Job
    from stratix_kombu.types import JobState


@dataclass(frozen=True, slots=True)
class JobPage:
    """What ``queue.find_jobs`` returns. A page may be short, or empty, before the last one."""

    jobs: list[Job]
    cursor: str
    """For the next page; '' after the last one."""
    looked: int
    """How many jobs were looked at for it."""


@dataclass(frozen=True, slots=True)
class ReasonPage:
    """What ``queue.get_failure_reasons`` returns: groups of the failures that were looked at, the largest first."""

    groups: list[ReasonGroup]
    cursor: str
    """For the next page; '' after the last one."""
    looked: int
    """How many failures were looked at for it."""


@dataclass(frozen=True, slots=True)
class ScheduleRun:
    """One job of a repeatable job; instants are milliseconds since the epoch, of the store's clock."""

    job_id: str
    added_on: int
    state: JobState | None
    """None if it was removed by hand."""
    finished_on: int | None = None
    failed_reason: str | None = None
    """Why it failed, or its last attempt did; the first 200 bytes, where the job was removed by its retention."""
    was_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class JobCount:
    """What ``queue.count_jobs`` returns."""

    count: int
    exact: bool
    """Whether all jobs were looked at; otherwise there are at least so many."""
    cursor: str
    """For counting on; '' if it is exact."""


@dataclass(frozen=True, slots=True)
class FlowSummary:
    """One flow: its root, and the number of its jobs in each state. Instants are milliseconds since the epoch."""

    job_id: str
    """The root: the last job to run, which depends on the others."""
    name: str
    queue: str
    created_on: int
    state: JobState
    counts: dict[str, int]
    """By state, with the root; ``removed`` are those whose record no longer exists."""
    total: int
    done: int
    """How many have completed, failed or been removed."""
    exact: bool
    """Whether all of its jobs were counted; otherwise there are at least so many."""


@dataclass(frozen=True, slots=True)
class FlowPage:
    """What ``app.queue.get_flows`` returns. A page may be short, or empty, before the last one."""

    flows: list[FlowSummary]
    cursor: str
    """For the next page; '' after the last one."""
