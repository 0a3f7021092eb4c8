"""Records that the server has evicted: the application goes on, and reports it once."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from redis import Redis

from stratix_kombu import RecordLost, create_app
from tests.waiting import until


@pytest.mark.parametrize("kind", ["delayed", "waiting"])
def test_evicted_jobs_are_reported_once_and_the_clock_runs(redis_url: str, kind: str) -> None:
    namespace = f"evicted{uuid.uuid4().hex[:8]}"
    settings: dict[str, Any] = {
        "driver": "redis",
        "namespace": namespace,
        "redis": {"url": redis_url},
        "worker": {"stalled_check_interval": 1_000},
    }
    errors: list[BaseException] = []
    with create_app(settings) as app, Redis.from_url(redis_url) as client:
        app.start()
        queue = app.queue.get_queue("q")
        queue.on("error", errors.append)
        queue.pause()
        jobs = [queue.add("n", delay=300 if kind == "delayed" else 0) for _ in range(4)]
        for job in jobs[:2]:
            client.delete(f"{{{namespace}}}:job:{job.id}")
        queue.process(lambda job: "ran")
        queue.resume()
        assert [job.wait_until_finished(timeout=10) for job in jobs[2:]] == ["ran"] * 2
        assert queue.add("n", delay=10).wait_until_finished(timeout=10) == "ran"
        until(lambda: errors)
        assert queue.add("n", delay=1_500).wait_until_finished(timeout=10) == "ran"
    lost = [job_id for error in errors if isinstance(error, RecordLost) for job_id in error.ids]
    assert sorted(lost) == sorted(job.id for job in jobs[:2])
    assert len(errors) <= 2, "at most one for each time the clock looks"
