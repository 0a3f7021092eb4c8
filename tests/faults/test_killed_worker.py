"""kill -9 in the middle of 200 jobs: every job ends exactly once in the store."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from stratix_kombu import create_app
from tests.faults.worker_processes import runs_of, worker_process
from tests.waiting import WAIT_S, until

JOBS = 200


def test_every_job_ends_once_when_a_worker_is_killed(settings: dict[str, Any], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    completed: Counter[str] = Counter()
    with create_app(settings) as app:
        app.start()
        queue = app.queue.create_queue("work")
        queue.on("completed", lambda job, result: completed.update([job.id]))
        jobs = queue.add_bulk([{"name": f"job-{number}", "data": {"number": number}} for number in range(JOBS)])
        with worker_process(settings, "work", runs) as first:
            until(lambda: queue.get_job_counts()["completed"] >= JOBS // 4, 60)
            first.kill()
            first.wait()
        done_before = queue.get_job_counts()["completed"]
        assert done_before < JOBS
        with worker_process(settings, "work", runs):
            until(lambda: queue.get_job_counts()["completed"] == JOBS, 60)
        until(lambda: len(completed) == JOBS, WAIT_S)
        counts = queue.get_job_counts()
        assert {state: count for state, count in counts.items() if count} == {"completed": JOBS}
        assert completed == Counter({job.id: 1 for job in jobs})
        handled = runs_of(runs)
        assert set(handled) == {job.id for job in jobs}
        repeated = {job_id: count for job_id, count in handled.items() if count > 1}
        stalled = [job for job in queue.get_jobs(["completed"]) if job.attempts_started > 1]
        assert set(repeated) <= {job.id for job in stalled}, "only jobs whose worker died may run twice"
        assert all(job.return_value == job.name for job in queue.get_jobs(["completed"]))
