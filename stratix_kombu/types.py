"""The types of options, settings and names, for type checkers.

Options are ``TypedDict``s, so that a misspelt option is found before the program runs: ``queue.add("mail",
atempts=3)``. They contain the snake_case keys; camelCase is accepted at run time. Durations are milliseconds or a
timedelta. A mapping that is built elsewhere can be annotated with its class:

>>> from stratix_kombu.types import JobOpts
>>> patient: JobOpts = {"attempts": 5, "backoff": {"type": "exponential", "delay": 1000}}

The guide's settings reference is generated from these classes (``python -m tests.reference``). The tests compare them
with the options that are accepted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, TypedDict

if sys.version_info >= (3, 11):
    from typing import NotRequired, Required, Unpack as Unpack
else:
    from typing_extensions import NotRequired, Required, Unpack as Unpack

from stratix_kombu.answer_types import (
    FlowPage as FlowPage,
    FlowSummary as FlowSummary,
    JobCount as JobCount,
    JobPage as JobPage,
    ReasonPage as ReasonPage,
    ScheduleRun as ScheduleRun,
)
from stratix_kombu.option_types import (
    BackoffOpts as BackoffOpts,
    DeduplicationOpts as DeduplicationOpts,
    FindOpts as FindOpts,
    Identified as Identified,
    Instant as Instant,
    JobOpts as JobOpts,
    LimiterOpts as LimiterOpts,
    MetricsOpts as MetricsOpts,
    NodeOpts as NodeOpts,
    ProcessorOpts as ProcessorOpts,
    QueueOpts as QueueOpts,
    RetentionOpts as RetentionOpts,
    RunOpts as RunOpts,
    WorkerOpts as WorkerOpts,
)
from stratix_kombu.server_types import (
    AwsCredentials as AwsCredentials,
    AwsOpts as AwsOpts,
    Duration as Duration,
    KombuOpts as KombuOpts,
    PostgresOpts as PostgresOpts,
    RabbitMQOpts as RabbitMQOpts,
    RedisDriverOpts as RedisDriverOpts,
    RedisNode as RedisNode,
    RedisOpts as RedisOpts,
    SqliteOpts as SqliteOpts,
    SqsOpts as SqsOpts,
    TlsOpts as TlsOpts,
)

Task: TypeAlias = Callable[..., Any]
"""A task of a Celery application. Checkers that read Celery's source take it for the function that was decorated."""

JobState = Literal["waiting", "active", "delayed", "blocked", "completed", "failed"]
ListedState = JobState | Literal["paused"]
CleanedState = Literal["completed", "failed", "waiting", "wait", "paused", "delayed", "blocked"]
JobEvent = Literal["waiting", "active", "delayed", "blocked", "stalled", "retries_exhausted", "duplicated", "removed"]
"""Events whose listeners receive only the job."""
ValueEvent = Literal["completed", "progress"]
"""Events whose listeners receive the job and its result or progress."""
PlainEvent = Literal["drained", "paused", "resumed"]
"""Events whose listeners receive nothing."""
EventName = JobEvent | ValueEvent | PlainEvent | Literal["failed", "cleaned", "error"]
HookName = (
    Literal["before_start", "after_start", "before_close", "after_close"]
    | Literal["beforeStart", "afterStart", "beforeClose", "afterClose"]
)
StepName = Literal["add", "take", "run", "sandbox"]
HealthScope = Literal["process", "host", "all"]


class DeadLetter(TypedDict):
    """What a dead letter says about the failed job."""

    id: str
    queue: str
    name: str
    data: Any
    options: str
    reason: str
    attempts: int
    max_attempts: int
    path: NotRequired[list[str]]
    """If it was a letter itself: the queues in which that and what it tells of have failed, in order."""


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

    children: Iterable[TreeNode]


class GraphNode(Node, total=False):
    """A job of a graph: ``dependencies`` are keys of other nodes, jobs, or ids."""

    key: str
    dependencies: Iterable[str | Identified]


class RuleOpts(TypedDict, total=False):
    """When something is repeated."""

    timezone: str | None
    """The IANA time zone of the cron rule. Default: the application's ``timezone``."""
    tz: str | None
    """Another name for ``timezone``."""
    limit: int | None
    """The number of runs after which it ends. Default: no limit."""
    start_date: Instant | None
    """No run before this instant; intervals are counted from it. Default: none."""
    end_date: Instant | None
    """No run after this instant. Default: none."""


class RepeatRule(RuleOpts, total=False):
    """When a repeatable job runs."""

    cron: str | None
    """A cron expression of five fields, or six with seconds first."""
    every: Duration | None
    """The interval between runs. It is counted from ``start_date``, or from the epoch."""
    immediately: bool | None
    """The first run is now. Default: False."""


class SchedulerRule(RepeatRule, total=False):
    """When a job of ``queue.upsert_job_scheduler`` runs; ``pattern`` is ``cron``."""

    pattern: str | None


class RepeatOpts(RepeatRule, RunOpts, total=False):
    """Options of ``queue.add_repeatable_job``."""

    key: str | None
    """Identifies the repeatable job in its queue: adding the same key replaces it. Default: made from its name and
    rule."""


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
    """Shown in logs and by ``app.schedule.list()``. With ``once`` it is required: it identifies the schedule across
    processes. Default: the function's name."""
    once: bool | None
    """Each run happens in one of all processes that have the schedule. Default: False."""


class ScheduleOpts(TimerOpts, total=False):
    """Options of ``app.schedule.register``."""

    cron: str | None
    """A cron expression; or give ``interval``."""
    interval: Duration | str | None
    """The time between runs: a duration, or a text such as ``10 minutes``."""
    every: Duration | str | None
    """Another name for ``interval``."""
    handler: Callable[[], object]
    """The function to call; it may be ``async def``."""


class AppSettings(TypedDict, total=False):
    """What ``create_app`` takes. Options of a driver of your own are given to ``app.register``."""

    driver: str
    """What carries messages: ``memory``, ``redis`` (alias ``bullmq``), ``rabbitmq`` (alias ``amqp``), ``sqs``, a
    registered driver, or a Kombu URL. A store that needs no broker is the driver as well. Default: the driver whose
    section is present, otherwise ``memory``."""
    store: str | RedisOpts
    """Where jobs are kept: a URL (``redis://``, ``rediss://``, ``unix://``, ``sentinel://``, ``redis+cluster://``,
    ``postgresql://``, ``sqlite:///jobs.db``, ``memory://``), or the options of ``redis``. Default: the same server for
    the driver ``redis``, memory for ``memory``; other drivers need a store to be named."""
    namespace: str
    """Separates applications that share one store. The names of a broker's queues begin with it and a ``.`` (on SQS a
    ``-``), so on one broker none may begin with another one and that sign: the queue ``eu.mails`` of ``shop`` and the
    queue ``mails`` of ``shop.eu`` would be one. Default: ``stratix``."""
    default_job_options: JobOpts
    """Options of all jobs that do not give their own; not ``job_id``, ``dependencies`` and ``deduplication``, which
    belong to one job."""
    limiter: LimiterOpts
    """The rate limiter of each queue that does not give its own; each queue has a limit to itself."""
    processor: ProcessorOpts
    """Sandbox options of each queue that does not give its own."""
    worker: WorkerOpts
    """Leases, stalled jobs and the clock."""
    bullmq: WorkerOpts
    """The same options under the name that BullMQ users know; ``worker`` takes precedence."""
    queues: Mapping[str, QueueOpts]
    """Options of single queues, by name."""
    shutdown_timeout: float
    """Seconds that ``app.run()`` and ``app.close()`` wait for active jobs. Default: 30."""
    timezone: str
    """The IANA time zone of cron rules that name none. Default: UTC."""
    metrics: MetricsOpts
    """Where metrics are served. Default: nowhere."""
    memory: Mapping[str, Any]
    """Options of the driver ``memory``."""
    redis: RedisDriverOpts
    """Options of the driver ``redis`` and, unless ``store`` is given, of the store."""
    rabbitmq: RabbitMQOpts
    """Options of the driver ``rabbitmq``."""
    amqp: RabbitMQOpts
    """The same options for the driver's alias ``amqp``."""
    sqlite: SqliteOpts
    """Options of the store ``sqlite``, unless ``store`` names it."""
    postgresql: PostgresOpts
    """Options of the store ``postgresql``, unless ``store`` names it."""
    sqs: SqsOpts
    """Options of the driver ``sqs``."""
    kombu: KombuOpts
    """Options of a driver that is given as a Kombu URL."""
