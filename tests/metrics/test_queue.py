"""``queue.get_metrics()`` on both stores, with a worker."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import pytest

from stratix_kombu import ConfigurationError, JobFailed, create_app
from tests.waiting import WAIT_S, until


@pytest.fixture(params=["memory", "redis"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    chosen: dict[str, Any] = {"driver": request.param, "namespace": f"metrics{uuid.uuid4().hex[:8]}"}
    if request.param == "redis":
        chosen["redis"] = {"url": request.getfixturevalue("redis_url")}
    return chosen


def test_what_happened_in_a_queue(settings: dict[str, Any]) -> None:
    with create_app(settings) as app:
        app.start()
        queue = app.queue.create_queue("work", concurrency=2)
        queue.process("ok", lambda job: time.sleep(0.02))
        queue.process("broken", lambda job: 1 / 0)
        for job in [queue.add("ok") for _ in range(10)]:
            job.wait_until_finished(timeout=10)
        with pytest.raises(JobFailed):
            queue.add("broken", attempts=3, backoff=1).wait_until_finished(timeout=10)
        until(lambda: queue.get_metrics().total.failed, WAIT_S)
        total = queue.get_metrics(minutes=3).total
        assert (total.completed, total.failed, total.retried, total.stalled, total.limited) == (10, 1, 2, 0, 0)
        assert total.run.count == total.wait.count == 13
        assert total.run.sum_ms >= 10 * 19
        assert 18 <= total.run.p95_ms <= total.run.p99_ms
        assert asyncio.run(queue.aio.get_metrics(minutes=3)).total == total
        minutes = queue.get_metrics().minutes
        assert len(minutes) == 60
        assert sum(one.completed for one in minutes) == 10
        assert minutes[-1].start_ms - minutes[0].start_ms == 59 * 60_000
        day = asyncio.run(queue.aio.get_metrics(hours=24))
        assert (day.minutes, len(day.hours), {hour.minutes for hour in day.hours}) == ((), 24, {60})
        assert (day.total.run, day.total.completed, day.total.minutes) == (total.run, 10, 24 * 60)
        assert day.hours[-1].start_ms - day.hours[0].start_ms == 23 * 3_600_000
        assert asyncio.run(queue.aio.get_metric_names()) == ["broken", "ok"]
        broken = asyncio.run(queue.aio.get_metrics(hours=2, name="broken")).total
        assert (broken.completed, broken.failed, broken.run.count) == (0, 3, 3)
        ok = queue.get_metrics(hours=2, name="ok").total
        assert (ok.completed, ok.failed, ok.wait.count) == (10, 0, 10)
        assert ok.run.p95_ms >= 18
        assert queue.obliterate(force=True)
        assert queue.get_metric_names() == []
        assert queue.get_metrics().total.completed == 0


def test_minutes_stand_alone() -> None:
    """Nothing that was asked for is left out silently."""
    with create_app({"driver": "memory"}) as app:
        queue = app.queue.get_queue("q")
        for more in ({"hours": 5}, {"name": "n"}, {"hours": 5, "name": "n"}):
            with pytest.raises(ConfigurationError, match="get_metrics: 'minutes' stands alone"):
                queue.get_metrics(5, **more)
            with pytest.raises(ConfigurationError, match="get_metrics: 'minutes' stands alone"):
                asyncio.run(queue.aio.get_metrics(minutes=5, **more))
        assert (len(queue.get_metrics().minutes), len(queue.get_metrics(hours=5).hours)) == (60, 5)


def test_names_that_cannot_be() -> None:
    app = create_app({"driver": "memory"})
    queue = app.queue.get_queue("q")
    with pytest.raises(ConfigurationError, match="get_metrics: 'name' belongs to 'hours'"):
        queue.get_metrics(name="n")
    with pytest.raises(ConfigurationError, match="get_metrics: 'hours' must be a whole number from 1 to 168"):
        queue.get_metrics(hours=169, name="n")
    app.close()


@pytest.mark.parametrize("hours", [0, 745, 1.5, True, "5"])
def test_hours_that_cannot_be(hours: Any) -> None:
    app = create_app({"driver": "memory"})
    with pytest.raises(ConfigurationError, match="get_metrics: 'hours' must be a whole number from 1 to 744"):
        app.queue.get_queue("q").get_metrics(hours=hours)
    app.close()


@pytest.mark.parametrize("minutes", [0, 1441, 1.5, True, "5"])
def test_minutes_that_cannot_be(minutes: Any) -> None:
    app = create_app({"driver": "memory"})
    with pytest.raises(ConfigurationError, match="get_metrics: 'minutes' must be a whole number from 1 to 1440"):
        app.queue.get_queue("q").get_metrics(minutes)
    app.close()
