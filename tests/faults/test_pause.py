"""Pause and resume over two worker processes, counted by the handlers, and heard elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from stratix_kombu import Queue, create_app
from tests.faults.worker_processes import runs_of, worker_process
from tests.waiting import until

JOBS = 120
WATCHED_S = 0.7
"""Longer than a paused worker waits before it looks again."""


def started(queue: Queue) -> set[str]:
    """Jobs that have been started, by the store."""
    return {job.id for job in queue.get_jobs(["active", "completed", "failed"])}


def pause_in_the_middle(queue: Queue, runs: Path, share: int) -> set[str]:
    """Pause the queue when so many of its jobs have been started and others wait; those that have been started."""
    while True:
        until(lambda share=share: len(runs_of(runs)) >= share, 60)  # type: ignore[misc]
        queue.pause()
        before = started(queue)
        if len(before) < len(queue.get_jobs()):
            return before
        # The workers were quicker. What is added before they may go on is not run while it is being added.
        queue.add_bulk([{"name": "n"}] * JOBS)
        queue.resume()
        share = len(before) + JOBS // 6


def test_when_a_pause_returns_no_further_job_starts(settings: dict[str, Any], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    settings = {**settings, "worker": {}}  # nobody dies here, however slow the machine is
    with (
        create_app(settings) as app,
        worker_process(settings, "work", runs, concurrency=3, seconds=0.1),
        worker_process(settings, "work", runs, concurrency=3, seconds=0.1),
    ):
        app.start()
        queue = app.queue.get_queue("work")
        heard: dict[str, list[str]] = {"active": [], "completed": []}
        queue.on("active", lambda job: heard["active"].append(job.id))
        queue.on("completed", lambda job, result: heard["completed"].append(job.id))
        until(lambda: len(queue.get_workers()) == 2, 60)
        queue.add_bulk([{"name": "n"}] * JOBS)
        for share in (JOBS // 6, JOBS // 3):
            before = pause_in_the_middle(queue, runs, share)
            until(lambda: queue.get_job_counts()["active"] == 0, 60)
            assert set(runs_of(runs)) == before
            watched = time.monotonic() + WATCHED_S
            while time.monotonic() < watched:
                queue.add("more")
                assert set(runs_of(runs)) == before
                time.sleep(0.1)
            jobs = queue.get_jobs()
            assert queue.get_job_counts()["paused"] == len(jobs) - len(before)
            queue.resume()
        until(lambda: queue.get_job_counts()["completed"] == len(jobs), 60)
        assert runs_of(runs) == Counter({job.id: 1 for job in jobs})
        for name in heard:  # by listeners in this process
            until(lambda name=name: len(heard[name]) >= len(jobs), 60)  # type: ignore[misc]
            assert Counter(heard[name]) == runs_of(runs)
