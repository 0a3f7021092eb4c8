"""Tasks of Celery are counted as jobs are, and its worker serves the page."""

from __future__ import annotations

import pytest

from tests.celery.workers import Project
from tests.metrics.conftest import page
from tests.services import free_port
from tests.waiting import WAIT_S, until


def test_tasks_are_counted_and_the_worker_tells(on_redis: Project) -> None:
    port = free_port()
    with on_redis.worker(metrics={"port": port, "host": "127.0.0.1"}):
        for number in range(3):
            assert on_redis.task("add").delay(number, 1).get(timeout=30) == number + 1
        assert on_redis.task("flaky").delay("fine", countdown=0).get(timeout=30) == ["fine", 1]
        with pytest.raises(ValueError, match="boom"):
            on_redis.task("boom").delay().get(timeout=30)
        queue = on_redis.queue
        until(lambda: queue.get_metrics(minutes=5).total.failed, WAIT_S)
        total = queue.get_metrics(minutes=5).total
        assert (total.completed, total.failed, total.retried) == (4, 1, 1)
        assert total.run.count == total.wait.count == 6

        def times() -> dict[str, float]:
            """How many runs of each task its worker has measured, after their results were stored."""
            found = page(port).items()
            return {
                dict(labels)["job_name"]: count
                for (name, labels), count in found
                if name == "job_processing_time_count"
            }

        until(lambda: times() == {"proj.add": 3, "proj.flaky": 1}, WAIT_S)
        assert page(port)["stratix_jobs_retried_total", (("queue", queue.name),)] == 1
        until(lambda: on_redis.app.stratix.check_health(workers="all").ok, WAIT_S)
