"""The claims that this process holds, and the thread that renews them. Celery's own timers stop when a worker shuts
down or a solo task runs (celery#5998), so leases have a thread of their own; forked children begin anew."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from stratix_kombu import forks
from stratix_kombu.errors import StaleClaim
from stratix_kombu.lifecycle.claim import claim, take
from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.record import Claim, Held, WorkerInfo
from stratix_kombu.model.state import Refusal
from stratix_kombu.worker.heartbeat import Heartbeat, Member

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge


class Claims:
    """Claims and releases jobs for the tasks of this process."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._lock = threading.Lock()
        self._held: dict[str, dict[str, Held]] = {}
        """By queue and token."""
        self._gone: set[str] = set()
        """Tokens that were lost while their task runs."""
        self._heartbeat: Heartbeat | None = None
        self._watched: set[str] = set()
        """Queues on which presence is shown."""
        self._enders: dict[str, Callable[[], None]] = {}
        self._stopping = threading.Event()
        self._proved: float | None = None
        self.stuck: set[str] = set()
        """Tokens of attempts that timed out while their handler goes on, in this process."""
        self.worker = ""
        self.concurrency = 1
        self._main_pid = 0
        forks.register(self)

    def after_fork(self) -> None:
        """A child of a worker claims in its name, and renews by itself what it has claimed."""
        self._lock, self._stopping, self._proved = threading.Lock(), threading.Event(), None
        self._held, self._heartbeat, self._enders = {}, None, {}
        self.stuck, self._gone, self._watched = set(), set(), set()

    def name_worker(self, hostname: str, concurrency: int) -> None:
        """Called in a worker's main process: its children claim in its name."""
        self.worker, self.concurrency = f"{hostname}-{os.getpid()}", concurrency
        self._main_pid = os.getpid()

    def prove(self) -> None:
        """Called by the event loop that takes messages, while its connection is up."""
        if len(self.stuck) < self.concurrency:
            self._proved = time.monotonic()

    def idle_ms(self) -> int | None:
        """How long ago that was; a worker without a free slot is not idle, though a solo pool stops the loop. While
        each slot is held by a handler whose attempt is over, nothing is proved."""
        if self._proved is None:
            return None
        if len(self.stuck) < self.concurrency <= len(self.stuck) + sum(map(len, self._held.values())):
            return 0
        return int((time.monotonic() - self._proved) * 1000)

    def take(self, queue: str, request: str, bounds: Bounds) -> tuple[Claim | None, Refusal | None]:
        """Take the next job of the queue for one permit, and renew its lease until ``drop``; or why there is none.
        Asked again with the same ``request``, since no answer came, it is the same job, unless another slot of the
        worker has taken one meanwhile: then the lease of the first one runs out."""
        self._see_to_renewal(queue)
        bridge = self._bridge
        taken = take(bridge.engine, queue, self._id, bridge.lease_ms, 1, bounds, permits=1, request=request)
        return (self._begun(queue, taken.claims[0]), None) if taken.claims else (None, taken.why)

    def claim(self, queue: str, job_id: str, request: str, bounds: Bounds) -> tuple[Claim | None, Refusal | None]:
        """The same for the job that a message of its own names."""
        self._see_to_renewal(queue)
        bridge = self._bridge
        claimed = claim(bridge.engine, queue, [job_id], self._id, bridge.lease_ms, bounds, request=request)
        return (self._begun(queue, claimed.claims[0]), None) if claimed.claims else (None, claimed.refused[0].why)

    def _begun(self, queue: str, claim: Claim) -> Claim:
        self._held[queue][claim.token] = Held(claim.record.id, claim.token)
        time.sleep(claim.wait_ms / 1000)
        return claim

    def on_end(self, token: str, end: Callable[[], None] | None) -> None:
        """Have ``end`` called when the job of a claim is to end: it was cancelled, or lost. None: no longer."""
        if end is None:
            self._enders.pop(token, None)
        else:
            self._enders[token] = end

    def drop(self, queue: str, token: str) -> None:
        """The attempt has ended, or is no longer ours."""
        self._held.get(queue, {}).pop(token, None)
        self._gone.discard(token)

    def is_lost(self, token: str) -> bool:
        """Whether the lease has run out, and that was reported: the store would refuse what comes of the attempt."""
        return token in self._gone

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
        """Show presence on the queue, and renew what is held of it. Raises RuntimeError if the system has no thread
        left."""
        with self._lock:
            if queue in self._watched:
                return
            if self._heartbeat is None:
                self._heartbeat = Heartbeat(self._bridge.engine, self._bridge.lease_ms)
                self._heartbeat.id = self._id
                self._heartbeat.shows = not self.worker or self._main_pid == os.getpid()
            held = self._held.setdefault(queue, {})
            info = WorkerInfo(
                id=self._id, queue=queue, host=socket.gethostname(), pid=os.getpid(), concurrency=self.concurrency
            )
            member = Member(
                lambda: replace(info, idle_ms=self.idle_ms(), stuck=len(self.stuck)),
                lambda: list(held.values()),
                lambda token: self._lose(queue, token),
                self._end,
            )
            self._heartbeat.join(queue, member)
            self._watched.add(queue)

    @property
    def _id(self) -> str:
        return self.worker or f"{socket.gethostname()}-{os.getpid()}"

    def drain(self) -> None:
        """The worker is stopping: nothing is waited for any more, while the leases of what runs are renewed."""
        self._stopping.set()

    def stop(self) -> None:
        """End the presence of this process."""
        self._stopping.set()
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

    def _end(self, token: str) -> None:
        end = self._enders.get(token)
        if end is not None:
            end()

    def _lose(self, queue: str, token: str) -> None:
        held = self._held.get(queue, {}).pop(token, None)
        if held is not None:
            self._gone.add(token)
            self._end(token)
            self._bridge.engine.report(queue, StaleClaim(held.job_id), "lease_lost")
