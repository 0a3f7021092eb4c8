"""What a worker asks of a store, and what it is given: jobs, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass, field

from stratix_kombu.model.letter import NO_FALLBACK, Fallback
from stratix_kombu.model.record import Claim, Limit
from stratix_kombu.model.state import Refusal


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a worker's program says of a queue: how its jobs may start, and what holds for jobs that do not say it
    themselves. A limit or a bound that was set for the queue in the store comes before the one that is given here."""

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
    """In the order in which they are to start."""
    why: Refusal | None = None
    """Why there are fewer than were wanted: ``PAUSED``, ``LIMITED`` and ``CROWDED`` are said of the whole queue,
    ``EMPTY`` if nothing waits that its own limit and its group let start; None = there are as many as were wanted."""
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
