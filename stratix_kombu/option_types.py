"""Options of jobs, queues and workers, as a type checker sees them; programs import them from ``stratix_kombu.types``.

The texts below the options are what the guide's settings reference says of them (``python -m tests.reference``).
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

from stratix_kombu.server_types import Duration

if sys.version_info >= (3, 11):
    from typing import Required
else:
    from typing_extensions import Required

Instant: TypeAlias = float | datetime
"""Milliseconds since the epoch, or an aware datetime."""


class Identified(Protocol):
    """A job, or anything else that has a job's id."""

    @property
    def id(self) -> str: ...


class FindOpts(TypedDict, total=False):
    """Which jobs of a queue are looked for."""

    name: str
    """Their name: ``*`` stands for any text, ``?`` for any character."""
    id: str
    """How their id begins."""
    reason: str
    """A text in the reason of their failure, or of their last attempt's; ``*`` and ``?`` as in ``name``."""
    group: str
    """Their group."""
    worker: str
    """The id of the worker that runs them or ran them last."""
    since: Instant | None
    """They finished at this instant or later; or were added, if they have not finished."""
    until: Instant | None
    """And before this instant."""


class RetentionOpts(TypedDict, total=False):
    """Which finished jobs are kept."""

    count: int
    """Keep the newest ``count`` jobs. 0 removes the job itself and no other."""
    age: Duration
    """Keep each job for this long."""


class BackoffOpts(TypedDict, total=False):
    """How long to wait before the next attempt. A plain duration instead of the mapping is a fixed delay."""

    type: Literal["fixed", "exponential"]
    """``exponential`` doubles ``delay`` with each attempt, up to a year. Default: ``fixed``."""
    delay: Duration
    """The delay before the second attempt. Default: 0."""
    jitter: float
    """From 0 to 1: the delay is drawn evenly from [(1 - jitter) × delay, delay]. Default: 0."""
    custom: str | Callable[[int], float | Awaitable[float]]
    """A function of the number of attempts made that returns milliseconds (a negative number ends the attempts), or
    the name under which it is registered. It stands alone, and the worker's queue must list it in ``backoffs``;
    otherwise the job waits one second, which is noted in the job's log. Only the function's name is stored."""


class DeduplicationOpts(TypedDict, total=False):
    """While a job of the queue holds a deduplication id, adding another job with that id returns the first one.

    Removing the job by hand frees the id. A failed job that is retried takes the id again unless another job holds
    it. What depends on the new job in a flow depends on the first one."""

    id: Required[str]
    """The deduplication id; it is independent of the job's own id."""
    ttl: Duration
    """How long the job holds the id, counted from when it was added, whether it has finished by then or not. Default:
    until it has finished."""
    replace: bool
    """A new job replaces one that is still delayed (debouncing), as if that was removed by hand: jobs that depend on it
    from before fail. Default: False."""
    extend: bool
    """Each further job that is added under the id restarts ``ttl``. Default: False."""


class LimiterOpts(TypedDict, total=False):
    """A window (``max`` and ``duration``) or a token bucket (``max`` and ``refill_rate``), over all workers."""

    max: int
    """The most jobs that may start in any window of ``duration`` (at most 100,000), or the size of the bucket."""
    duration: Duration
    """The length of the window. A token bucket ignores it."""
    bounce_back: bool
    """Accepted for compatibility with BullMQ; both values behave the same. Default: True."""
    refill_rate: float
    """Tokens added each second: this makes the limiter a token bucket."""
    initial_tokens: int
    """Tokens in a new bucket, which is refilled from the first time that a job asks it. Default: ``max``. A store may
    forget a bucket that has been full and unused for a day: then it is new again."""
    key: str
    """Jobs and queues whose limiters have the same key share one limit. Default: the queue, or for a job's own limiter
    the queue and the job's name."""


class RunOpts(TypedDict, total=False):
    """Options of a job, and of each run of a repeatable one. None is as if the option was not given."""

    priority: int | None
    """0 (first) to 9 (last). Default: 0."""
    attempts: int | None
    """How often the job is tried in all. Default: 1."""
    backoff: Duration | BackoffOpts | None
    """The delay between attempts. Default: none."""
    remove_on_complete: bool | int | timedelta | RetentionOpts | None
    """Whether the job is removed once it has completed: ``True`` at once, ``False`` never; a number keeps that many of
    the newest jobs, a ``timedelta`` keeps each for that long. Default: False. A number that is probably an age
    (86,400,000), or an age that is probably in seconds, is logged as a warning."""
    remove_on_fail: bool | int | timedelta | RetentionOpts | None
    """The same for a job that has failed for good. How the job ended last decides."""
    limiter: LimiterOpts | None
    """A rate limit of the job's own, shared with the jobs of the same name in the queue. A job that waits for it holds
    up no other."""
    deduplication: DeduplicationOpts | None
    """Do not add the job while another one holds this id. Default: none."""
    timeout: Duration | None
    """An attempt that takes longer fails: a coroutine is cancelled and a sandbox is killed; a function on a thread runs
    on and keeps its slot, but its result is discarded. Default: no limit."""
    group: str | None
    """The tenant that the job belongs to: groups of a queue take turns (see [Fair groups](limits.md#fair-groups)). On
    SQS it is also the ``MessageGroupId``. Default: none."""


class NodeOpts(RunOpts, total=False):
    """Options of a job in a flow: its dependencies are the flow's edges."""

    job_id: str | None
    """An id of your own. If a job of the queue already has it, that job is returned unchanged; if a job of another
    queue has it, ``JobIdTaken`` is raised and nothing is added. The id of a removed job may be used again: jobs that
    depended on the removed one keep its result. Default: a random id."""
    delay: Duration | None
    """Do not start before this much time has passed. Default: 0."""
    run_at: Instant | None
    """Do not start before this instant."""
    dependencies_mode: Literal["required", "optional"] | None
    """``required``: a dependency that fails, fails this job too. ``optional``: this job runs once all dependencies have
    finished, however they ended. Default: ``required``."""


class JobOpts(NodeOpts, total=False):
    """Options of ``queue.add``."""

    dependencies: Iterable[str | Identified] | None
    """Jobs, or ids of jobs, of any queue that must finish before this one starts. Default: none."""


class ProcessorOpts(TypedDict, total=False):
    """How handlers run in processes of their own."""

    sandboxed: bool
    """All handlers of the queue run in child processes. Default: False."""
    max_sandboxes: int
    """Child processes of the queue in this process. Default: the queue's ``concurrency`` (in a Celery worker: the
    worker's)."""
    timeout: Duration
    """The limit for each attempt, or the job's own ``timeout`` if that is shorter. It starts once the handler has been
    imported, and also applies to handlers without a sandbox, as a job's ``timeout`` does. Default: no limit."""
    max_memory_usage: int
    """Megabytes of resident memory of the child and, on Linux, of all processes below it. Default: no limit."""
    kill_behavior: Literal["force", "graceful"]
    """``force`` sends SIGKILL. ``graceful`` sends SIGTERM, which runs the handler's ``finally`` blocks, and SIGKILL two
    seconds later. Default: ``force``."""


class QueueOpts(TypedDict, total=False):
    """Options of ``app.queue.create_queue``."""

    concurrency: int
    """Jobs that run at the same time in this process. Default: 1; for a ``sandboxed`` queue: its ``max_sandboxes``."""
    max_payload_bytes: int
    """The longest data, result or progress value, as JSON. Default: 1 MiB."""
    default_job_options: JobOpts
    """Options of jobs that do not give their own; not ``job_id``, ``dependencies`` and ``deduplication``, which belong
    to one job."""
    backoffs: Mapping[str, Callable[[int], Any]] | Sequence[Callable[[int], Any]]
    """Functions that the custom back-offs of this queue's jobs may name. Default: none."""
    limiter: LimiterOpts
    """A rate limit for the queue, over all workers. Default: none."""
    global_concurrency: int
    """The most jobs active at the same time over all workers. Default: 0 (no limit)."""
    group_concurrency: int
    """The most jobs of one ``group`` active at the same time over all workers. Default: 0 (no limit)."""
    dead_letter: str
    """The queue that receives a letter for each job that has failed for good; not the queue itself. Only the program
    that runs the jobs needs this option. Default: none."""
    processor: ProcessorOpts
    """Sandboxes."""


class WorkerOpts(TypedDict, total=False):
    """Leases, stalled jobs and the clock."""

    stalled_check_interval: Duration
    """How often jobs whose lease has expired, and messages that were lost, are looked for. Default: 30,000."""
    max_stalled_count: int
    """How often a job may stall: one time more, and it has failed. Default: 1."""
    lease_duration: Duration
    """How long a worker owns a job without renewing the lease. Default: 30,000."""
    redelivery_grace: Duration
    """How long a message may be on its way before it counts as lost and is sent again. Default: 30,000."""
    clock: bool
    """Whether processes that run jobs also run the clock (delayed and repeatable jobs, stalled jobs). If not, run
    ``stratix-kombu beat``. Default: True."""


class MetricsOpts(TypedDict, total=False):
    """Where a started application serves its metrics for Prometheus."""

    port: Required[int]
    """The port to listen on; 0 chooses a free one."""
    host: str
    """The address to listen on. Default: ``0.0.0.0``."""
