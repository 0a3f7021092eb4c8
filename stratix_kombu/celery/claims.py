"""The claims that this process holds, and the thread that renews them. Celery's own timers stop when a worker shuts
down or a solo task runs (celery#5998), so leases have a thread of their own; forked children start afresh."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from stratix_kombu import forks
from stratix_kombu.celery.gathered import Gathered
from stratix_kombu.celery.later import Later
from stratix_kombu.lifecycle.claim import claim, renew, take
from stratix_kombu.lifecycle.outcomes import complete
from stratix_kombu.model.claims import Bounds, Claimed
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import Change, Claim, Completion, WorkerInfo
from stratix_kombu.model.state import Refusal
from stratix_kombu.worker.coroutines import LoopExecutor
from stratix_kombu.worker.endings import Endings
from stratix_kombu.worker.heartbeat import Heartbeat, Member
from stratix_kombu.worker.holdings import Holdings
from stratix_kombu.worker.timeouts import Timeouts

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge

NO_CHANGE = Change()
EARLY_MS = 250
"""How much ahead of its limit a job may have been taken, at most."""


class Served:
    """One queue that this process claims jobs of."""

    def __init__(self, bridge: Bridge, queue: str, loop: LoopExecutor) -> None:
        self._bridge = bridge
        self._queue = queue
        self.holdings = Holdings()
        self.endings = Endings(bridge.engine, queue, self.holdings, loop)
        self.claiming = Gathered(self._claim)
        self.completing = Gathered(self._complete)

    def _claim(self, ids: Sequence[str]) -> Callable[[], list[Claim | Refusal]]:
        bridge, queue, request = self._bridge, self._queue, new_request()
        bounds = bridge.task_bounds(queue)

        def step() -> Claimed:
            return claim(bridge.engine, queue, ids, bridge.claims.id, bridge.lease_ms, bounds, request=request)

        def claims() -> list[Claim | Refusal]:
            claimed = bridge.patiently(queue, step)
            answers: dict[str, Claim | Refusal] = {one.job_id: one.why for one in claimed.refused}
            answers.update((one.record.id, one) for one in claimed.claims)
            return [answers[job_id] for job_id in ids]

        return claims

    def _complete(self, successes: Sequence[Completion]) -> Callable[[], list[Change]]:
        def change() -> list[Change]:
            stale = complete(self._bridge.engine, successes).stale
            return [Change(stale=(one.job_id,)) if one.job_id in stale else NO_CHANGE for one in successes]

        return change


class Settled:
    """Stores the outcome of one attempt: see ``celery.attempt.Settling``."""

    def __init__(self, bridge: Bridge, queue: str, token: str, later: Later | None) -> None:
        self._bridge = bridge
        self._queue = queue
        self._token = token
        self._later = later

    def call(self, function: Callable[[], Any]) -> Any:
        return function()

    def settle(self, job_id: str, step: Callable[[], Change], success: Completion | None) -> bool:
        claims = self._bridge.claims
        try:
            if not claims.ended(self._queue, self._token):
                return False
            if success is not None:
                if self._later is not None and self._later.follows and not success.then:
                    self._later.keep(success)
                    return True
                step = partial(claims.served(self._queue).completing.ask, job_id, success)
            return self._bridge.settle(job_id, self._queue, step)
        finally:
            self.drop()

    def drop(self) -> None:
        if self._later is not None:
            self._later.ended()
        self._bridge.claims.drop(self._queue, self._token)


class Claims:
    """Claims and releases jobs for the tasks of this process."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.worker = ""
        self.concurrency = 1
        self._main_pid = 0
        self.loop = LoopExecutor()
        """Runs the ``async def`` handlers of this process."""
        self.after_fork()
        forks.register(self)

    def after_fork(self) -> None:
        """A child of a worker claims in the worker's name, and renews its claims itself."""
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._proved: float | None = None
        self._served: dict[str, Served] = {}
        self._heartbeat: Heartbeat | None = None
        self._watched: set[str] = set()
        """Queues on which presence is shown."""
        self.timeouts = Timeouts("celery")
        self._later: Later | None = None

    def name_worker(self, hostname: str, concurrency: int) -> None:
        """Called in a worker's main process: its children claim in its name, and when it ends, it gives up what is
        claimed in that. Containers may share the host's name, and each has the process 1: no two have one name."""
        self.worker, self.concurrency = f"{hostname}-{os.getpid()}.{uuid4().hex[:8]}", concurrency
        self._main_pid = os.getpid()

    def served(self, queue: str) -> Served:
        """What this process holds of a queue."""
        found = self._served.get(queue)
        if found is not None:
            return found
        with self._lock:
            found = self._served.get(queue)
            if found is None:
                found = self._served[queue] = Served(self._bridge, queue, self.loop)
            return found

    def prove(self) -> None:
        """Called by the event loop that takes messages, while its connection is up."""
        if self._stuck < self.concurrency:
            self._proved = time.monotonic()

    def idle_ms(self) -> int | None:
        """How long ago that was; a worker without a free slot is not idle, though a solo pool stops the loop. While
        each slot is held by a handler whose attempt is over, nothing is proved."""
        if self._proved is None:
            return None
        in_use = sum(len(served.holdings.all_running()) for served in list(self._served.values()))
        if self._stuck < self.concurrency <= self._stuck + in_use:
            return 0
        return int((time.monotonic() - self._proved) * 1000)

    @property
    def _stuck(self) -> int:
        """Slots of this process that are held by handlers whose attempt is over."""
        cancellations = self._bridge.engine.cancellations
        return sum(served.holdings.stuck(cancellations, set()) for served in list(self._served.values()))

    def take(
        self, queue: str, request: str, bounds: Bounds, again: bool = False
    ) -> tuple[Claim | None, Refusal | None]:
        """Take the next job of the queue for one permit, and renew its lease until ``drop``; or return why there is
        none. ``again``: an earlier answer to this ``request`` was lost; the job that it took is looked for first, since
        the store only remembers the worker's last take, which may be another slot's by now."""
        self._see_to_renewal(queue)
        bridge = self._bridge
        if again and (taken_before := self._taken_before(queue, request)) is not None:
            return self._begun(queue, taken_before), None
        taken = take(bridge.engine, queue, self.id, bridge.lease_ms, 1, bounds, permits=1, request=request)
        return (self._begun(queue, taken.claims[0]), None) if taken.claims else (None, taken.why)

    def _taken_before(self, queue: str, request: str) -> Claim | None:
        token, engine = f"{request}:0", self._bridge.engine
        queries = engine.store.queries
        held = next((claim for claim in queries.held(queue, self.id) if claim.token == token), None)
        if held is None:
            return None
        (record,) = queries.get([held.job_id])
        lost = renew(engine, [], [held], self._bridge.lease_ms).lost
        return Claim(token, record, EARLY_MS) if record is not None and not lost else None

    def claim(self, queue: str, job_id: str) -> Claim | Refusal:
        """The same for the job that a native message names, repeated while the store is unreachable. Raises
        Unavailable after five minutes."""
        self._see_to_renewal(queue)
        began = time.monotonic()
        answer = self.served(queue).claiming.ask(job_id, job_id)
        if self._later is not None:
            self._later.claimed(began)
        return self._begun(queue, answer) if isinstance(answer, Claim) else answer

    def _begun(self, queue: str, claim: Claim) -> Claim:
        self.served(queue).holdings.add(claim)
        if claim.wait_ms:  # even a sleep of no time takes a while, and another thread's turn
            time.sleep(claim.wait_ms / 1000)
        return claim

    def drop(self, queue: str, token: str) -> None:
        """The attempt has ended, and its outcome is stored, or no longer needed."""
        served = self.served(queue)
        served.endings.ended(token)
        served.holdings.note_stored(token)

    def ended(self, queue: str, token: str) -> bool:
        """The task has finished; returns whether its lease is still valid: otherwise the store would reject the
        outcome."""
        _, lost = self.served(queue).endings.ended(token)
        return not lost

    def settling(self, queue: str, token: str, may_wait: bool) -> Settled:
        """Where the outcome of that attempt goes; ``may_wait``: a success may be stored a moment later."""
        if may_wait and self._later is None and self.worker and self._main_pid != os.getpid():
            self._later = Later(self._bridge.engine)  # it is a child of a pool
        later = self._later if may_wait and self._later is not None and self._later.begin() else None
        return Settled(self._bridge, queue, token, later)

    def _see_to_renewal(self, queue: str) -> None:
        """Nothing is claimed whose lease cannot be renewed: while the system has no thread left, this slot waits."""
        reported = False
        while True:
            try:
                return self.watch(queue)
            except RuntimeError as problem:
                if not reported:
                    reported = True
                    self._bridge.engine.report(queue, problem, "start_failed")
                self.pause(1.0)

    def watch(self, queue: str) -> None:
        """Report presence on the queue, and renew its claims. Raises RuntimeError if the system cannot start a
        thread."""
        if queue in self._watched:
            return
        served = self.served(queue)
        with self._lock:
            if queue in self._watched:
                return
            if self._heartbeat is None:
                self._heartbeat = Heartbeat(self._bridge.engine, self._bridge.lease_ms)
                self._heartbeat.id = self.id
                self._heartbeat.shows = not self.worker or self._main_pid == os.getpid()
            info = WorkerInfo(
                id=self.id,
                queue=queue,
                host=socket.gethostname(),
                pid=os.getpid(),
                concurrency=self.concurrency,
                slots=self.concurrency,
            )
            member = Member(
                lambda: replace(info, idle_ms=self.idle_ms(), stuck=self._stuck),
                served.holdings.to_renew,
                served.endings.lose,
                served.endings.cancel,
            )
            self._heartbeat.join(queue, member)
            self._watched.add(queue)

    @property
    def id(self) -> str:
        return self.worker or f"{socket.gethostname()}-{os.getpid()}"

    def drain(self) -> None:
        """The worker is stopping: nothing is waited for any more, while the leases of what runs are renewed."""
        self._stopping.set()

    def stop(self) -> None:
        """End the presence of this process."""
        self._stopping.set()
        self.timeouts.stop()
        self.loop.stop()
        with self._lock:
            heartbeat, self._heartbeat = self._heartbeat, None
            watched, self._watched = self._watched, set()
        if heartbeat is not None:
            for queue in watched:
                heartbeat.leave(queue)

    def pause(self, seconds: float) -> None:
        """Wait, unless the worker is stopping: then only a moment."""
        if self._stopping.is_set():
            time.sleep(min(seconds, 0.5))
        else:
            self._stopping.wait(seconds)
