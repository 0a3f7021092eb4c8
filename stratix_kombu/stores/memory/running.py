"""What workers report while jobs run, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.model.record import Held, Renewed, WorkerInfo
from stratix_kombu.stores.contract import Transitions
from stratix_kombu.stores.memory.state import Presence
from stratix_kombu.stores.memory.steps import Steps, step


class Running(Steps, Transitions):
    """Renewals, and what handlers write into their records."""

    @step
    def renew(
        self,
        present: Sequence[WorkerInfo],
        held: Sequence[Held],
        lease_ms: int,
        *,
        every_ms: int = 0,
        asked: Sequence[str] = (),
    ) -> Renewed:
        now = self.space.now()
        until = now + lease_ms
        for worker in present:
            queue = self.space.queues[worker.queue]
            queue.known = True
            queue.workers[worker.id] = worker
            self.space.present[worker.id] = Presence(until, now + every_ms)
        lost, cancelled = set[str](), set[str]()
        for claim in held:
            job = self._held(claim.job_id, claim.token)
            if job is None:
                lost.add(claim.token)
                continue
            job.lease_ms = until
            if job.cancelled is not None:
                cancelled.add(claim.token)
        paused = frozenset(one for one in asked if one in self.space.queues and self.space.queues[one].paused)
        return Renewed(frozenset(lost), paused, frozenset(cancelled))

    @step
    def leave(self, worker: str, queues: Sequence[str]) -> None:
        for queue in queues:
            if queue in self.space.queues:
                self.space.queues[queue].workers.pop(worker, None)
                self.space.queues[queue].order.took.pop(worker, None)

    # -- the record -----------------------------------------------------------------------------

    @step
    def progress(self, job_id: str, value: str) -> None:
        job = self._job(job_id)
        job.progress = value
        self.space.tell(job.new.queue, "progress", job, value)

    @step
    def log(self, job_id: str, line: str, keep: int) -> int:
        job = self._job(job_id)
        job.logs.append(line)
        job.logged += 1
        del job.logs[: max(len(job.logs) - keep, 0)]
        return len(job.logs)

    @step
    def update_data(self, job_id: str, data: str) -> None:
        self._job(job_id).data = data
