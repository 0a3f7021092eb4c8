"""A job as the store holds it. ``data``, ``options``, ``progress`` and ``result`` are JSON text."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar

from stratix_kombu.model.awaiting import NotAwaitable
from stratix_kombu.model.retention import KEEP_ALL as KEEP_ALL, KEEP_NONE as KEEP_NONE, Retention as Retention
from stratix_kombu.model.shown import Shown
from stratix_kombu.model.state import State


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``max`` starts in any window of ``duration_ms``; ``key`` may be shared over queues.

    With ``refill_per_s`` it is a token bucket instead: it holds ``max`` tokens, each start takes one.
    """

    key: str
    max: int
    duration_ms: int = 0
    refill_per_s: float = 0.0
    initial: int | None = None
    """Tokens in a new bucket; None = it is full."""
    bounce_back: bool = True
    """Kept as it was given. To a store it makes no difference: a job that is refused stays waiting, in its place."""


@dataclass(frozen=True, slots=True)
class Deduplication:
    """At most one job of a queue under this id: while it has not finished, or with ``ttl_ms`` for that long after it
    was added, unless it is removed by hand. A failed job that is retried holds the id again, unless another job holds
    it."""

    id: str
    ttl_ms: int = 0
    replace: bool = False
    """A delayed job under the id gives way to the new one: debouncing."""
    extend: bool = False
    """Each further job under the id restarts the time."""


@dataclass(slots=True, kw_only=True)
class NewJob:
    """A job to be added; everything is validated already. Not to be changed once a store has it. (Frozen, one of so
    many fields would take three times as long to make, for each job.)"""

    id: str
    queue: str
    name: str
    data: str = "null"
    options: str = ""
    """The user's options as JSON, kept for reading back and for retries; empty for none."""
    priority: int = 0
    delay_ms: int = 0
    """Not before this long after the store's now."""
    due_ms: int = 0
    """Or: not before this instant. The later of the two counts."""
    max_attempts: int = 1
    dependencies: tuple[str, ...] = ()
    optional: bool = False
    """Run when all dependencies have finished, however they ended."""
    keep_completed: Retention = KEEP_ALL
    keep_failed: Retention = KEEP_ALL
    limit: Limit | None = None
    """A limit for jobs like this one, in addition to the queue's own."""
    deduplication: Deduplication | None = None
    dead_letter: str = ""
    """The queue that gets a letter when the job has failed (unless a dependency was the reason)."""
    message: str = ""
    """The whole message to send for the job, for tasks of Celery: compact JSON as Kombu's virtual transports write it,
    ``properties`` last, and there the delivery tag, if any; '' for jobs that are taken with a permit."""
    max_stalled: int | None = None
    """How often its lease may expire before the job fails; None = as configured for the clock."""
    vacant: bool = False
    """A placeholder: it keeps the id's place in the graph, blocked, until a job with that id is added and takes it
    over. When its dependencies have all ended before that, it has failed; with a delay, when that is over."""
    carries: tuple[str, ...] = ()
    """Ids of jobs that this one will add when it ends. Placeholders of that name wait for this job too."""
    forward: bool = False
    """A job that no worker claims, for workers that do not use the store: it completes once its message is sent."""
    anew: bool = False
    """An ended job of the same id, of any queue, gives way to it; one that has not finished stays, as always."""
    kind: str = ""
    """Marks a job that the package added itself, one of ``GATE`` and the like; '' for a user's job."""
    group: str = ""
    """Groups take turns, see ``Transitions.take``; '' = the jobs of the queue that name none are one group."""
    fresh: bool = False
    """Its id was made for it: no other job has or had it, and nothing refers to it. So a store that finds the id knows
    that it was asked to add this job before."""

    @property
    def native(self) -> bool:
        """Its message is a task of Celery's: it is claimed by its id, in the order of the broker, and not taken."""
        return bool(self.message) or self.forward


GATE = "gate"
"""What a large flow waits for until all of it is there. No dependency that users see."""
JOIN = "join"
"""A job that waits for the header of a Celery chord."""
GROUP = "group"
"""The record of a Celery group; it is never run."""
LETTER = "letter"
"""A job that describes one that has failed."""
RUN = "run"
"""One run of a repeatable job."""


@dataclass(slots=True, kw_only=True)
class JobRecord:
    """One job as read from the store, not to be changed; instants are the store's, in milliseconds since the epoch."""

    id: str
    queue: str
    name: str
    data: str
    options: str
    state: State
    priority: int
    created_ms: int
    due_ms: int
    """Not before; 0 when never delayed."""
    processed_ms: int
    """Start of the last attempt; 0 before the first."""
    finished_ms: int
    attempts_made: int
    """Attempts that have ended."""
    attempts_started: int
    """Attempts that have begun; larger than ``attempts_made`` after a lease has expired."""
    max_attempts: int
    stalled_count: int
    pending: int
    """Dependencies that have not finished."""
    optional: bool
    worker: str
    """The worker that runs it or ran it last."""
    progress: str | None
    result: str | None
    """Of a job that has failed: the error as JSON, where it is known."""
    failed_reason: str | None
    stacktrace: str | None
    """JSON list of the tracebacks of the last failed attempts."""
    message: str = ""
    """See ``NewJob.message``. Not read with a claim: the host that claims such a job has its message."""
    vacant: bool = False
    """See ``NewJob.vacant``."""
    number: int = 0
    """Which job it is, of those that ever had its id: no other one of the namespace has the same. 0 = it was added by
    the first release, which gave none."""
    kind: str = ""
    """See ``NewJob.kind``."""
    cancelled: bool = False
    """It has failed because it was cancelled."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended whose record no longer exists."""

    state: State
    finished_ms: int
    result: str | None = None
    failed_reason: str | None = None
    cancelled: bool = False

    def record_of(self, record: JobRecord) -> JobRecord:
        """The record of the job as it has ended."""
        return replace(record, **{field.name: getattr(self, field.name) for field in fields(self)})


ENDED_KEPT_MS = 60_000
"""How long the outcome of a job that retention has removed is kept."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one job until the lease ends; ``token`` proves it, and names this attempt and no other."""

    token: str
    record: JobRecord
    wait_ms: int = 0
    """How long its handler has to wait: it was granted a little before its limit lets it start."""


@dataclass(frozen=True, slots=True)
class Held:
    """One claim a worker holds, named by job and token."""

    job_id: str
    token: str


MAX_REASON_BYTES = 4096
"""A longer reason of a failure is cut: those of dependents grow with each dependency between them and the cause."""

ANY_CLAIM, UNCLAIMED = "*", "-"
"""In place of a token, to end a job that has not ended: in whatever state it is, for those who know that its holder is
dead or must not go on; in any state but active, for those who do not know whether it has a holder."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The successful end of an attempt."""

    job_id: str
    token: str
    result: str
    then: tuple[NewJob, ...] = ()
    """Jobs to be added in the same step."""
    data: str = ""
    """JSON that replaces the job's data; '' leaves it."""
    message: str = ""
    """What replaces the job's message; '' leaves it. It may no longer have what only mattered until its end."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The failed end of an attempt; ``retry_ms`` None = the job has failed for good."""

    job_id: str
    token: str
    reason: str
    stacktrace: str = ""
    retry_ms: int | None = None
    error: str = ""
    """The error as JSON, kept as the result of a job that has failed, and of those that fail because of it."""
    then: tuple[NewJob, ...] = ()
    """Jobs to be added in the same step."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """An attempt whose job continues as another one."""

    job_id: str
    token: str
    then: tuple[NewJob, ...]
    """Jobs to be added: one with the same id, or one that carries it."""
    reason: str = ""
    stacktrace: str = ""
    """Why, if it is another attempt after a fault."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A message that has to be sent: that of a native job (see ``NewJob.native``), or a permit, which says that the
    queue has work. A permit may name the job that became waiting (``id`` is '' otherwise); nothing relies on that."""

    id: str
    queue: str
    name: str = ""
    priority: int = 0
    message: str = ""
    forward: bool = False
    group: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """A job (or a schedule) that was dropped from the lists that named it, because its record could not be read."""

    id: str
    queue: str
    """'' where that is not known any more."""
    why: str
    """``missing``, ``unreadable``, ``out of place``, ``missing schedule`` or ``unreadable schedule``."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a transition did."""

    ready: tuple[Ready, ...] = ()
    """To be dispatched; jobs that the store has put into the queue itself are not in it."""
    stale: tuple[str, ...] = ()
    """Jobs whose claim was not held, nor ended by this very step before: nothing was changed for them."""
    affected: tuple[str, ...] = ()
    """Ids the transition touched, where the caller named a set by a rule."""
    more: bool = False
    """A page was full: call the same transition (or ``release``) again."""
    cursor: str = ""
    """Where the transition must continue, if it takes a cursor; '' when it has examined all."""
    lost: tuple[Lost, ...] = ()
    """For ``recover``: what was dropped since its last call."""


@dataclass(slots=True)
class Placed:
    """What the store made of one job that was added; not to be changed."""

    state: State
    created_ms: int
    number: int
    """See ``JobRecord.number``."""
    due_ms: int = 0
    pending: int = 0


@dataclass(slots=True)
class Added:
    """The answer to ``add``; not to be changed."""

    placed: tuple[Placed | None, ...] = ()
    """One entry per job, in order; None for one that was not added."""

    duplicates: frozenset[str] = frozenset()
    """Ids that were known already; nothing was changed for them."""
    ready: tuple[Ready, ...] = ()
    more: bool = False
    instead: tuple[tuple[str, str], ...] = ()
    """Jobs that were not added because of their deduplication, with the id of the one that is there."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """The answer to ``renew``."""

    lost: frozenset[str] = frozenset()
    """Tokens of claims that are no longer held."""
    paused: frozenset[str] = frozenset()
    """Queues, of those asked about, that are paused."""
    cancelled: frozenset[str] = frozenset()
    """Tokens of claims whose jobs were cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo(Shown):
    """Presence of one worker on one queue."""

    id: str
    queue: str
    host: str = ""
    pid: int = 0
    concurrency: int = 0
    idle_ms: int | None = None
    """Time since it last took messages; None = unknown, as for a Celery worker without an event loop."""
    stuck: int = 0
    """Slots held by handlers that are still running although their attempt is over."""
    version: str = ""
    started_ms: int = 0
    slots: int = 0
    """Version of this package; when its process began to serve; how many jobs it runs, if its queues share them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus(Shown, NotAwaitable):
    """A queue at one instant."""

    _meant: ClassVar[str] = "write 'await queue.aio.get_status()'"

    name: str
    paused: bool
    counts: dict[str, int]
    workers: int
    oldest_waiting_ms: int | None
    """How long the first job has been waiting: of each priority the first one in order, and of these the one that waits
    longest; None if none waits."""
    overdue_ms: int = 0
    """How long ago the first delayed job was due; it grows while no clock promotes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A repeatable job: a template and the slot that comes next."""

    key: str
    queue: str
    name: str
    rule: str
    """The recurrence as JSON; the store does not look into it."""
    template: str
    """Data and options of each run as JSON; the store does not look into it."""
    next_ms: int
    """The slot that is due next; 0 = the schedule has ended."""
    runs: int = 0
    """Slots fired so far, over all processes."""
    paused: bool = False
    owner: str = ""
    """The owner that fires it; '' for any clock."""
    recent: str = ""
    """Its last runs: see ``model/runs.py``."""


@dataclass(frozen=True, slots=True)
class InlineQueue:
    """How a store that is also the broker puts messages into the broker's queue itself.

    The broker's list for permits is ``prefix + queue``, for native jobs ``prefix + queue + suffixes[priority]``.
    ``template`` is a whole permit as a format string, whose ``%s`` are, in this order: an id and a delivery tag that no
    other message has, and ``prefix + queue``.
    """

    address: str
    """Host, port and database as ``host:port/db``: only the same server can deliver."""
    prefix: str
    suffixes: tuple[str, ...]
    template: str
