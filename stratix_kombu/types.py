"""What options, settings and names look like to a type checker.

Options are ``TypedDict``s, so that a misspelt one is found before the program runs: ``queue.add("mail", atempts=3)``.
They name the snake_case keys; the documented camelCase ones are accepted when the program runs. Durations are
milliseconds or a timedelta. A mapping that is made elsewhere can be annotated with its class:

>>> from stratix_kombu.types import JobOpts
>>> patient: JobOpts = {"attempts": 5, "backoff": {"type": "exponential", "delay": 1000}}

The README says what each option means. The tests compare these classes with the options that are accepted.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

if sys.version_info >= (3, 11):
    from typing import Required
    from typing import Unpack as Unpack
else:
    from typing_extensions import Required
    from typing_extensions import Unpack as Unpack

from stratix_kombu.server_types import AwsCredentials as AwsCredentials
from stratix_kombu.server_types import AwsOpts as AwsOpts
from stratix_kombu.server_types import Duration as Duration
from stratix_kombu.server_types import KombuOpts as KombuOpts
from stratix_kombu.server_types import RabbitMQOpts as RabbitMQOpts
from stratix_kombu.server_types import RedisDriverOpts as RedisDriverOpts
from stratix_kombu.server_types import RedisNode as RedisNode
from stratix_kombu.server_types import RedisOpts as RedisOpts
from stratix_kombu.server_types import SqsOpts as SqsOpts
from stratix_kombu.server_types import TlsOpts as TlsOpts

Instant: TypeAlias = float | datetime
"""Milliseconds since the epoch, or an aware datetime."""

Task: TypeAlias = Callable[..., Any]
"""A task of a Celery application. Checkers that read Celery's source take it for the function that was decorated."""

JobState = Literal["waiting", "active", "delayed", "blocked", "completed", "failed"]
ListedState = JobState | Literal["paused"]
CleanedState = Literal["completed", "failed", "waiting", "wait", "paused", "delayed", "blocked"]
JobEvent = Literal["waiting", "active", "delayed", "blocked", "stalled", "retries_exhausted", "duplicated", "removed"]
"""Events whose listeners get the job, and nothing else."""
ValueEvent = Literal["completed", "progress"]
"""Events whose listeners get the job, and its result or progress."""
PlainEvent = Literal["drained", "paused", "resumed"]
"""Events whose listeners get nothing."""
EventName = JobEvent | ValueEvent | PlainEvent | Literal["failed", "cleaned", "error"]
HookName = (
    Literal["before_start", "after_start", "before_close", "after_close"]
    | Literal["beforeStart", "afterStart", "beforeClose", "afterClose"]
)
HealthScope = Literal["process", "host", "all"]


class Identified(Protocol):
    """A job, or whatever else has the id of one."""

    @property
    def id(self) -> str: ...


class RetentionOpts(TypedDict, total=False):
    """What is kept of finished jobs: the newest ``count``, each for ``age``."""

    count: int
    age: Duration


class BackoffOpts(TypedDict, total=False):
    """How long to wait before another attempt; ``custom`` stands alone."""

    type: Literal["fixed", "exponential"]
    delay: Duration
    jitter: float
    custom: str | Callable[[int], float | Awaitable[float]]


class DeduplicationOpts(TypedDict, total=False):
    """One job of a queue under ``id``."""

    id: Required[str]
    ttl: Duration
    replace: bool
    extend: bool


class LimiterOpts(TypedDict, total=False):
    """A window (``duration``) or a token bucket (``refill_rate``, tokens a second)."""

    max: int
    duration: Duration
    bounce_back: bool
    refill_rate: float
    initial_tokens: int
    key: str


class RunOpts(TypedDict, total=False):
    """Options of a job, and of each run of a repeatable one. None is as if it was not given."""

    priority: int | None
    attempts: int | None
    backoff: Duration | BackoffOpts | None
    remove_on_complete: bool | int | timedelta | RetentionOpts | None
    remove_on_fail: bool | int | timedelta | RetentionOpts | None
    limiter: LimiterOpts | None
    deduplication: DeduplicationOpts | None
    timeout: Duration | None
    group: str | None


class NodeOpts(RunOpts, total=False):
    """Options of a job in a flow: its dependencies are the flow's edges."""

    job_id: str | None
    delay: Duration | None
    run_at: Instant | None
    dependencies_mode: Literal["required", "optional"] | None


class JobOpts(NodeOpts, total=False):
    """Options of ``queue.add``."""

    dependencies: Iterable[str | Identified] | None


class DeadLetter(TypedDict):
    """What a dead letter says of the job that has failed."""

    id: str
    queue: str
    name: str
    data: Any
    options: str
    reason: str
    attempts: int
    max_attempts: int


class BulkJob(TypedDict, total=False):
    """One job of ``queue.add_bulk``."""

    name: Required[str | Task]
    data: Any
    opts: JobOpts | None


class Node(TypedDict, total=False):
    """A job of a flow. Its queue is ``queue`` or ``queue_name``."""

    name: Required[str | Task]
    queue: str
    queue_name: str
    data: Any
    opts: NodeOpts | None


class TreeNode(Node, total=False):
    """A job of a tree, which runs when its children have completed."""

    children: Sequence[TreeNode]


class GraphNode(Node, total=False):
    """A job of a graph: ``dependencies`` are keys of other nodes, jobs, or ids."""

    key: str
    dependencies: Sequence[str | Identified]


class RuleOpts(TypedDict, total=False):
    """When something happens again and again."""

    timezone: str | None
    tz: str | None
    limit: int | None
    start_date: Instant | None
    end_date: Instant | None


class RepeatRule(RuleOpts, total=False):
    """When a repeatable job runs."""

    cron: str | None
    every: Duration | None
    immediately: bool | None


class SchedulerRule(RepeatRule, total=False):
    """When a job of ``queue.upsert_job_scheduler`` runs; ``pattern`` is ``cron``."""

    pattern: str | None


class RepeatOpts(RepeatRule, RunOpts, total=False):
    """Options of ``queue.add_repeatable_job``."""

    key: str | None


class RepeatTemplate(TypedDict, total=False):
    """The job of ``queue.upsert_job_scheduler``."""

    name: str | Task
    data: Any
    opts: RunOpts | None


class RepeatSelection(RepeatRule, total=False):
    """Which repeatable job is meant: by ``key``, or by ``name`` and rule."""

    key: str | None
    name: str | None


class TimerOpts(RuleOpts, total=False):
    """Options of ``app.schedule.cron`` and ``interval``."""

    name: str | None
    once: bool | None


class ScheduleOpts(TimerOpts, total=False):
    """Options of ``app.schedule.register``."""

    cron: str | None
    interval: Duration | str | None
    every: Duration | str | None
    handler: Callable[[], object]


class ProcessorOpts(TypedDict, total=False):
    """How handlers run in processes of their own."""

    sandboxed: bool
    max_sandboxes: int
    timeout: Duration
    max_memory_usage: int
    kill_behavior: Literal["force", "graceful"]


class QueueOpts(TypedDict, total=False):
    """Options of ``app.queue.create_queue``."""

    concurrency: int
    max_payload_bytes: int
    default_job_options: JobOpts
    backoffs: Mapping[str, Callable[[int], Any]] | Sequence[Callable[[int], Any]]
    limiter: LimiterOpts
    global_concurrency: int
    group_concurrency: int
    dead_letter: str
    processor: ProcessorOpts


class WorkerOpts(TypedDict, total=False):
    """How workers and clocks keep watch."""

    stalled_check_interval: Duration
    max_stalled_count: int
    lease_duration: Duration
    redelivery_grace: Duration
    clock: bool


class MetricsOpts(TypedDict, total=False):
    """Where metrics are served."""

    port: Required[int]
    host: str


class AppSettings(TypedDict, total=False):
    """What ``create_app`` takes. Options of a driver of your own are given to ``app.register``."""

    driver: str
    store: str | RedisOpts
    namespace: str
    default_job_options: JobOpts
    limiter: LimiterOpts
    processor: ProcessorOpts
    worker: WorkerOpts
    bullmq: WorkerOpts
    queues: Mapping[str, QueueOpts]
    shutdown_timeout: float
    timezone: str
    metrics: MetricsOpts
    memory: Mapping[str, Any]
    redis: RedisDriverOpts
    rabbitmq: RabbitMQOpts
    amqp: RabbitMQOpts
    sqs: SqsOpts
    kombu: KombuOpts
