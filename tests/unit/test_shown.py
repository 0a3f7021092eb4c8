"""What programs pass on: handles on dependencies, and answers as plain values."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timezone
from typing import Any

import pytest

from stratix_kombu import Application, JobFailed
from tests.waiting import until


def test_dependencies_are_jobs_with_their_states(app: Application) -> None:
    queue, other = app.queue.create_queue("q"), app.queue.create_queue("other")
    queue.process("part", lambda job: job.data)
    app.start()
    first = queue.add("part", 1)
    gone = queue.add("part", 2, remove_on_complete=True)
    elsewhere = other.add("wait", {"to": "a"}, delay=600_000)
    removed = other.add("wait", delay=600_000)
    assert (first.wait_until_finished(timeout=10), gone.wait_until_finished(timeout=10)) == (1, 2)
    last = queue.add("sum", dependencies=[first, elsewhere, removed], dependencies_mode="optional")
    removed.remove()
    found = {one.id: one for one in last.get_dependencies()}
    assert {key: one.state for key, one in found.items()} == {first.id: "completed", elsewhere.id: "delayed"}
    assert last.get_dependency_states() == {first.id: "completed", elsewhere.id: "delayed", removed.id: None}
    assert (found[first.id].return_value, found[elsewhere.id].data) == (1, {"to": "a"})
    assert [one.queue_name for one in found.values()].count("other") == 1
    assert [(one.id, one.state, one.name) for one in elsewhere.get_dependents()] == [(last.id, "blocked", "sum")]
    assert asyncio.run(_ids(last)) == [*found]
    until(lambda: removed.id not in [one.id for one in last.get_dependencies()])


async def _ids(job: Any) -> list[str]:
    assert [one.name for one in await job.aio.get_dependents()] == []
    assert len(await job.aio.get_dependency_states()) == 3
    return [one.id for one in await job.aio.get_dependencies()]


def test_a_dependency_whose_record_is_gone_says_how_it_ended(app: Application) -> None:
    queue = app.queue.create_queue("q")
    queue.process("part", lambda job: job.data)
    app.start()
    hold = queue.add("hold", delay=600_000)
    part = queue.add("part", 2, remove_on_complete=True, delay=1)
    last = queue.add("sum", dependencies=[part, hold])
    until(lambda: last.get_dependency_states()[part.id] == "completed")
    (gone,) = [one for one in last.get_dependencies() if one.id == part.id]
    assert (gone.state, gone.data) == ("completed", None)
    assert last.get_dependency_results() == {part.id: 2}


def test_a_dependency_of_another_queue_can_be_waited_for(app: Application) -> None:
    queue, other = app.queue.create_queue("q"), app.queue.create_queue("other")

    @other.process
    def fail(job: Any) -> None:
        raise ValueError("no")

    part = other.add("part")
    last = queue.add("sum", dependencies=[part], dependencies_mode="optional")
    (found,) = last.get_dependencies()
    app.start()
    with pytest.raises(JobFailed, match="ValueError: no"):
        found.wait_until_finished(timeout=10)
    assert found.state == "failed"


def test_answers_are_plain_values(app: Application) -> None:
    queue = app.queue.create_queue("q")
    queue.process(lambda job: 1)
    app.start()
    queue.add("n").wait_until_finished(timeout=10)
    at = datetime(2999, 1, 1, tzinfo=timezone.utc)
    app.schedule.interval("1 hour", print, start_date=at, name="s")
    answers: list[Any] = [
        queue.get_status(),
        queue.get_metrics(minutes=2),
        app.check_health(),
        *queue.get_workers(),
        *queue.get_events(),
        *app.schedule.list(),
        queue.add_repeatable_job("r", {"a": [1]}, every=1000, start_date=at),
    ]
    plain = [json.loads(json.dumps(one.to_dict())) for one in answers]
    status, metrics, health, worker, *_, schedule, repeatable = plain
    assert (status["name"], status["counts"]["completed"]) == ("q", 1)
    assert (metrics["total"]["completed"], len(metrics["minutes"]), metrics["total"]["run"]["count"]) == (1, 2, 1)
    assert (health["ok"], health["workers"][0]["queue"], worker["queue"]) == (True, "q", "q")
    assert (schedule["next_run"], repeatable["start_date"]) == (at.isoformat(), at.isoformat())
    assert repeatable["data"] == {"a": [1]}
