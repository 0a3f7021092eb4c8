"""What a worker requests from a store, and what it gets: jobs, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass, field

from stratix_kombu.model.letter import NO_FALLBACK, Fallback
from stratix_kombu.model.record import Claim, Limit
from stratix_kombu.model.state import Refusal


@dataclass(frozen=True, slots=True)
class Bounds:
    """A worker's options of a queue: when its jobs may start, and defaults for jobs without their own. A limit or bound
    that was set for the queue in the store takes precedence."""

    limit: Limit | None = None
    """Of all starts of the queue."""
    global_concurrency: int = 0
    """Most active jobs of the queue, over all workers; 0 = any number."""
    group_concurrency: int = 0
    """Most active jobs of one group (``NewJob.group``), over all workers; 0 = any number."""
    fallback: Fallback = NO_FALLBACK


NO_BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to ``take``."""

    claims: list[Claim] = field(default_factory=list)
    """In the order in which they start."""
    why: Refusal | None = None
    """Why there are fewer than requested: ``PAUSED``, ``LIMITED`` and ``CROWDED`` apply to the whole queue,
    ``EMPTY`` if nothing waits that its own limit and its group let start; None = there are as many as requested."""
    until_ms: int = 0
    """In how many milliseconds it is worth asking again, where that is known: when the limit or the hold, or the limit
    of the first of the jobs that were set aside, lets jobs start. 0 = not known, or at once if ``left``."""
    left: bool = False
    """More jobs may be taken at once."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A claim that was refused. In every case the message may be dropped."""

    job_id: str
    why: Refusal
    retry_ms: int = 0
    """For LIMITED: how long the limit or the hold lasts, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer to ``claim``."""

    claims: list[Claim] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
