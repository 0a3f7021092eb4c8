"""What workers say while jobs run, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stratix_kombu.model.record import Held, Renewed, WorkerInfo
from stratix_kombu.stores.contract import Transitions
from stratix_kombu.stores.memory.state import Presence
from stratix_kombu.stores.memory.steps import Steps, step


class Running(Steps, Transitions):
    """Renewals, and what handlers write into their records."""

    @step
    def renew(self, worker: WorkerInfo, held: Sequence[Held], lease_ms: int) -> Renewed:
        now = self.space.now()
        until = now + lease_ms
        queue = self.space.queues[worker.queue]
        queue.known = True
        before = queue.workers.get(worker.id)
        if worker.idle_ms is None and before is not None:
            worker = replace(worker, idle_ms=before.at(now).idle_ms)
        queue.workers[worker.id] = Presence(worker, until, now)
        lost, cancelled = set[str](), set[str]()
        for one in held:
            job = self._held(one.job_id, one.token)
            if job is None:
                lost.add(one.token)
                continue
            job.lease_ms = until
            if job.cancelled is not None:
                cancelled.add(one.token)
        paused = frozenset({worker.queue} if queue.paused else ())
        return Renewed(frozenset(lost), paused, frozenset(cancelled))

    @step
    def leave(self, worker: str, queue: str) -> None:
        self.space.queues[queue].workers.pop(worker, None)

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
