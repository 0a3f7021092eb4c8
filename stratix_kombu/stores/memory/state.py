"""What the memory store holds, and the moves its transitions are made of. All under ``Space.lock``."""

from __future__ import annotations

import heapq
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from itertools import islice

from stratix_kombu.model.attempts import Kept
from stratix_kombu.model.event import INLINE_RESULT_BYTES, Event
from stratix_kombu.model.limiter import Starts
from stratix_kombu.model.record import (
    ENDED_KEPT_MS,
    GATE,
    Ended,
    JobRecord,
    Limit,
    NewJob,
    Ready,
    Retention,
    Schedule,
    WorkerInfo,
)
from stratix_kombu.model.state import NEVER_SENT, State
from stratix_kombu.stores.memory.attempts import Attempts
from stratix_kombu.stores.memory.graph import Edge, Graph, Outcome
from stratix_kombu.stores.memory.leader import Leader
from stratix_kombu.stores.memory.metrics import Counted, count
from stratix_kombu.stores.memory.order import Key, Order
from stratix_kombu.stores.memory.runs import end_run

EVENTS_KEPT = 10_000
TRIMMED_AT_ONCE = 100
"""How many finished jobs one completion removes at most, when a retention by count was tightened."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The job that holds a deduplication id, and until when (0 = until it has finished)."""

    job_id: str
    number: int
    until_ms: int = 0


@dataclass(slots=True)
class Job:
    """A record and all that belongs to it."""

    new: NewJob
    state: State
    created_ms: int
    number: int
    due_ms: int = 0
    data: str = "null"
    waiting_ms: int = 0
    """When it became waiting last."""
    waited_ms: int = 0
    """How long, when its last attempt began."""
    processed_ms: int = 0
    finished_ms: int = 0
    attempts_made: int = 0
    attempts_started: int = 0
    stalled_count: int = 0
    worker: str = ""
    progress: str | None = None
    result: str | None = None
    failed_reason: str | None = None
    stacktrace: str | None = None
    token: str = ""
    ended: str = ""
    """How its last attempt was ended, and with which token."""
    lease_ms: int = 0
    dispatched_ms: int = 0
    dispatched_as: int = 0
    """Of native jobs, the one with less is first."""
    dispatches: int = 0
    place: int = 0
    """Where it waits in the order of its queue, or where it did before it started; of a native job, when its own limit
    refused it."""
    line: str = ""
    """In which line it is set aside."""
    delayed_as: int = 0
    """Of jobs that are due at one instant, the one with less is first."""
    moved_as: int = 0
    """Of the jobs in one state, the one with less came into it first."""
    cancelled: str | None = None
    """The reason of its cancellation; None = it was not cancelled."""
    cancel_error: str = ""
    failed_by: str = ""
    """The dependency it failed because of."""
    vacant: bool = False
    dependencies: dict[str, Edge] = field(default_factory=dict)
    pending: int = 0
    swept: int = 0
    """The last sweep that moved it."""
    rerun: bool = False
    """It was run again with all of its dependents."""
    attempts: list[Kept] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    logged: int = 0
    """The number of lines ever written, including those no longer kept."""

    @property
    def is_open(self) -> bool:
        """Whether it is vacant, and can be taken over still."""
        return self.vacant and self.state in (State.BLOCKED, State.DELAYED)

    @property
    def key(self) -> Key:
        return (0 if self.new.native else self.new.priority), self.place, self.new.id

    def record(self) -> JobRecord:
        own = {name: getattr(self, name) for name in _OWN}
        given = {name: getattr(self.new, name) for name in _AS_GIVEN}
        return JobRecord(**own, **given, cancelled=self.cancelled is not None and self.state is State.FAILED)


_READ = [one.name for one in fields(JobRecord) if one.name != "cancelled"]
_OWN = [name for name in _READ if name in Job.__slots__]
"""What changes while the job is there."""
_AS_GIVEN = [name for name in _READ if name not in Job.__slots__]
"""The rest of its record is as it was added."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Until when a worker is present, and when its next renewal is due."""

    until_ms: int
    again_ms: int

    def at(self, now: int, worker: WorkerInfo) -> WorkerInfo:
        """The worker as it was when it was renewed last, now."""
        idle_ms = worker.idle_ms
        return worker if idle_ms is None else replace(worker, idle_ms=idle_ms + max(now - self.again_ms, 0))


@dataclass(slots=True)
class QueueSpace:
    """One queue: ids by state in the order they came, its log, and its flags."""

    ids: dict[State, dict[str, None]] = field(default_factory=lambda: {state: {} for state in State})
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    last_event: int = 0
    first_event: int = 0
    """The number before its first one: when the queue was forgotten, listeners are at one of those before."""
    known: bool = False
    paused: bool = False
    order: Order = field(default_factory=Order)
    limit: Limit | None = None
    global_concurrency: int | None = None
    held_ms: int = 0
    """No job starts before this instant."""
    claimed_ms: dict[int, int] = field(default_factory=dict)
    """Per priority: the latest dispatch of a native job that was claimed at its first dispatch."""
    workers: dict[str, WorkerInfo] = field(default_factory=dict)
    """As they were renewed last."""
    counted: Counted = field(default_factory=Counted)


def is_kept(ended: Ended, now: int) -> bool:
    """Whether it can still be requested."""
    return ended.finished_ms > now - ENDED_KEPT_MS


class Space(Graph):
    """One namespace."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__()
        self.step_ms = 0
        """The instant of the step in progress, which is the same for the whole step. 0 = there is none."""
        self.now: Callable[[], int] = lambda: self.step_ms or clock()
        self.lock = threading.RLock()
        self.told = threading.Condition(self.lock)
        self.jobs: dict[str, Job] = {}
        self.events = 0
        """How many there were in all queues: a queue that is forgotten and comes again uses no number twice."""
        self.queues: dict[str, QueueSpace] = defaultdict(
            lambda: QueueSpace(last_event=self.events, first_event=self.events)
        )
        self.delayed: list[tuple[int, int, str]] = []
        """A heap of due time, ``Job.delayed_as`` and id. Entries whose job is no longer delayed to that instant
        are skipped."""
        self.expiring: list[tuple[int, str]] = []
        self.ended: dict[str, tuple[Ended, str]] = {}
        """Of jobs that their retention removed, for ``ENDED_KEPT_MS``; and ``Job.ended``."""
        self.attempts = Attempts()
        self.numbers = 0
        self.limits: dict[tuple[str, bool], Starts] = {}
        self.schedules: dict[str, Schedule] = {}
        self.locks: dict[str, tuple[str, int]] = {}
        self.unused: dict[str, int] = {}
        """Unused queues, and when they were first found unused."""
        self.present: dict[str, Presence] = {}
        """By worker."""
        self.leader = Leader(self.lock)
        self.deduplicated: dict[tuple[str, str], Holder] = {}
        """By queue and id."""
        self.sweeps = self.moves = self.delays = 0
        self.instead: list[tuple[str, str]] = []
        self.stand_ins: dict[str, str] = {}
        """Ids that a deduplication has kept or pushed out in this step, and those that hold it."""
        self.ready: list[Ready] = []
        """Collected by the transition that is under way."""
        self.vacated: Counter[str] = Counter()
        """How many jobs of each queue it has made no longer active."""

    # -- moves ----------------------------------------------------------------------------------

    def tell(
        self, queue: str, name: str, job: Job | None = None, value: str | None = None, *, own: bool = False
    ) -> None:
        """An entry of a log; one of the user's ``own`` does not make a queue of it."""
        space = self.queues[queue]
        space.known = space.known or not own
        self.events += 1
        space.last_event += 1
        if value is not None and len(value.encode()) > INLINE_RESULT_BYTES:
            value = None
        job_id, job_name = (job.new.id, job.new.name) if job else ("", "")
        space.events.append(Event(str(space.last_event), queue, name, job_id, self.now(), value, job_name))
        self.told.notify_all()

    def move(self, job: Job, state: State) -> None:
        ids = self.queues[job.new.queue].ids
        self._leave(job)
        ids[job.state].pop(job.new.id, None)
        job.state = state
        self.moves += 1
        job.moved_as = self.moves
        ids[state][job.new.id] = None

    def _leave(self, job: Job) -> None:
        """What a job that was waiting or active leaves, in addition to the list of its state."""
        order, new = self.queues[job.new.queue].order, job.new
        if job.state is State.ACTIVE:
            self.vacated[new.queue] += 1
            if new.group and not new.native:
                order.active[new.group] -= 1
                if line := order.lines.get(f"g:{new.group}"):
                    line.opens_ms = 0
        elif job.state is State.WAITING:
            if not new.native and job.place:
                order.remove(job.key, job.line)
            elif new.native:
                order.leave_unsent(job)
            job.line = ""

    def put_off(self, job: Job) -> None:
        """From now on its message is expected to arrive."""
        self.delays += 1
        job.dispatched_ms, job.dispatched_as = self.now(), self.delays

    def send(self, job: Job) -> None:
        """Have the job's message sent."""
        self.put_off(job)
        job.dispatches += 1
        new = job.new
        group = "" if new.native else new.group
        self.ready.append(Ready(new.id, new.queue, new.name, new.priority, new.message, new.forward, group))

    def make_waiting(self, job: Job, *, again: bool = False) -> None:
        """In a new place; ``again``: in the place that it had."""
        self.move(job, State.WAITING)
        if not again:
            job.waiting_ms = self.now()
            job.place = 0
        if not job.new.native:
            order = self.queues[job.new.queue].order
            job.place = job.place or order.new_place(job.new)
            order.put(job.key)
        job.due_ms = 0
        job.dispatches = 0
        self.tell(job.new.queue, "waiting", job)
        self.send(job)

    def reprioritise(self, job: Job, priority: int) -> None:
        """Give it another priority, and if it waits a new place by that."""
        waits = job.state is State.WAITING
        if waits:
            self._leave(job)
        job.new = replace(job.new, priority=priority)
        if waits:
            order = self.queues[job.new.queue].order
            job.place = order.new_place(job.new)
            order.put(job.key)

    def make_delayed(self, job: Job, due_ms: int) -> None:
        self.move(job, State.DELAYED)
        self.delays += 1
        job.due_ms, job.delayed_as = due_ms, self.delays
        heapq.heappush(self.delayed, (due_ms, job.delayed_as, job.new.id))
        self.leader.wake(due_ms)
        self.tell(job.new.queue, "delayed", job, str(due_ms))

    def make_ready(self, job: Job) -> None:
        """Waiting, or delayed if its time has not come; blocked if it has dependencies to wait for, or is vacant."""
        if job.pending or (job.vacant and job.due_ms <= self.now()):
            self.move(job, State.BLOCKED)
            self.tell(job.new.queue, "blocked", job)
        elif job.due_ms > self.now():
            self.make_delayed(job, job.due_ms)
        else:
            self.make_waiting(job)

    def complete(self, job: Job, result: str) -> None:
        job.result = result
        job.failed_reason = job.stacktrace = None
        count(self, job, "completed")
        self._end(job, State.COMPLETED, job.new.keep_completed)
        self.tell(job.new.queue, "completed", job, result)

    def unblock(self, job: Job) -> None:
        """Its last dependency has finished."""
        if job.vacant:
            self.fail(job, NEVER_SENT)
        else:
            self.make_ready(job)

    def fail(self, job: Job, reason: str, stacktrace: str = "", failed_by: str = "", error: str | None = None) -> None:
        job.failed_reason = reason
        job.result = error or None
        job.stacktrace = stacktrace or None
        job.failed_by = failed_by
        count(self, job, "failed" if job.cancelled is None else "cancelled")
        self._end(job, State.FAILED, job.new.keep_failed)
        self.tell(job.new.queue, "failed", job, reason)

    def _end(self, job: Job, state: State, keep: Retention) -> None:
        self.move(job, state)
        job.finished_ms = self.now()
        job.token = ""
        self._free(job)
        if self.dependents.get(job.new.id):
            self.releasing[job.new.id] = None
        if keep.age_ms is not None:
            heapq.heappush(self.expiring, (job.finished_ms + keep.age_ms, job.new.id))
        if keep.count == 0:
            self.retire(job)
        elif keep.count is not None:
            ids = self.queues[job.new.queue].ids[state]
            surplus = min(len(ids) - keep.count, TRIMMED_AT_ONCE)
            for old in list(islice(ids, max(surplus, 0))):
                self.retire(self.jobs[old])

    def tell_drained(self, queue: str) -> None:
        ids = self.queues[queue].ids
        if not ids[State.WAITING] and not ids[State.ACTIVE]:
            self.tell(queue, "drained")

    def _free(self, job: Job, anyway: bool = False) -> None:
        """Other jobs may be added under its deduplication id; ``anyway``: even if it holds the id for a time."""
        given = job.new.deduplication
        if given and (anyway or not given.ttl_ms):
            holder = self.deduplicated.get((job.new.queue, given.id))
            if holder and holder.number == job.number:
                del self.deduplicated[job.new.queue, given.id]

    def hold_again(self, job: Job) -> None:
        """It is unfinished again: no other job may be added under its deduplication id, unless one was already."""
        given = job.new.deduplication
        if given and not given.ttl_ms:
            self.deduplicated.setdefault((job.new.queue, given.id), Holder(job.new.id, job.number))

    def delete_by_hand(self, job: Job) -> None:
        """A removal by a user: a deduplication id that is held for a time is given up too."""
        self._free(job, anyway=True)
        self.delete(job)

    def retire(self, job: Job) -> None:
        """Retention removes it: how it ended is known for a while."""
        self.delete(job)
        while self.ended and not is_kept(next(iter(self.ended.values()))[0], self.now()):
            del self.ended[next(iter(self.ended))]
        result = job.result if job.state is State.COMPLETED else None
        cancelled = job.cancelled is not None and job.state is State.FAILED
        ended = Ended(job.state, job.finished_ms, result, job.failed_reason, cancelled)
        self.ended[job.new.id] = ended, job.ended
        end_run(self, job, ended)

    def delete(self, job: Job) -> None:
        """Forget the record; keep how it ended for dependents that may still ask."""
        self._free(job)
        del self.jobs[job.new.id]
        self.ended.pop(job.new.id, None)
        self._leave(job)
        self.queues[job.new.queue].ids[job.state].pop(job.new.id, None)
        self.forget_edges(job.new.id, job.dependencies)
        if self.dependents.get(job.new.id):
            state = job.state.value if job.state.finished else "removed"
            self.outcomes[job.new.id] = Outcome(
                state, job.result, job.failed_reason or "", job.number, job.new.kind == GATE
            )
            if not job.state.finished:
                self.releasing[job.new.id] = None
