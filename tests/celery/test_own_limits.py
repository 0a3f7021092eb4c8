"""How tasks end early in our own worker: time limits and revokes, of functions on threads and of coroutines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded

from stratix_kombu.errors import ConfigurationError
from tests.celery.conftest import lines, project_on
from tests.celery.workers import Project
from tests.waiting import until

WAIT_S = 60
TASKS = pytest.mark.parametrize("name", ["busy", "waits"])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where signals are noted."""
    path = tmp_path_factory.mktemp("told") / "signals"
    path.touch()
    return str(path)


@pytest.fixture(scope="module")
def worked(request: pytest.FixtureRequest, told: str) -> Iterator[Project]:
    project = project_on("redis", request)
    with project.worker("own", 8, signals=told):
        yield project
    project.close()


@TASKS
def test_a_soft_limit_is_raised_in_the_task(worked: Project, notes: str, name: str) -> None:
    result = worked.task(name).apply_async((notes,), soft_time_limit=1)
    with pytest.raises(SoftTimeLimitExceeded):
        result.get(timeout=WAIT_S)
    assert lines(notes) == ["began", "softly", "ended"]


@TASKS
def test_a_task_may_go_on_after_its_soft_limit(worked: Project, notes: str, name: str) -> None:
    result = worked.task(name).apply_async((notes, 60, True), soft_time_limit=1, time_limit=60)
    assert result.get(timeout=WAIT_S) == "returned"
    assert lines(notes) == ["began", "softly", "ended"]


@TASKS
def test_a_hard_limit(worked: Project, notes: str, name: str) -> None:
    """What depends on the task fails with it, its errbacks are called, and its slot is free again."""
    slow = worked.task(name).s(notes).set(time_limit=1, link_error=worked.task("on_error_id").s(notes))
    late = (slow | worked.task("note").si(notes, "after")).apply_async()
    with pytest.raises(TimeLimitExceeded):
        late.parent.get(timeout=WAIT_S)
    until(lambda: sorted(lines(notes)) == sorted(["began", "ended", f"task {late.parent.id}"]), WAIT_S)
    assert late.state == "FAILURE"
    until(lambda: [one.stuck for one in worked.queue.get_workers()] == [0], WAIT_S)


@TASKS
def test_a_task_that_ends_in_time(worked: Project, notes: str, name: str) -> None:
    result = worked.task(name).apply_async((notes, 0.01), soft_time_limit=30, time_limit=60)
    assert result.get(timeout=WAIT_S) == "returned"
    assert lines(notes) == ["began", "ended"]


@TASKS
def test_a_running_task_is_terminated(worked: Project, told: str, notes: str, name: str) -> None:
    result = worked.task(name).delay(notes)
    until(lambda: lines(notes) == ["began"], WAIT_S)
    result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=WAIT_S)
    until(lambda: lines(notes) == ["began", "ended"], WAIT_S)
    until(lambda: f"task_revoked {name}" in lines(told), WAIT_S)


def test_limits_that_no_number_says(worked: Project, notes: str) -> None:
    """Of a message that somebody else has made: it runs without one."""
    result = worked.task("busy").apply_async((notes, 0.01), time_limit="soon", soft_time_limit=["never"])
    assert result.get(timeout=WAIT_S) == "returned"


@TASKS
def test_limits_that_are_changed_from_outside(worked: Project, notes: str, name: str) -> None:
    (worker,) = worked.queue.get_workers()
    options = {"destination": [worker.id.rpartition("-")[0]], "reply": True, "timeout": WAIT_S}
    (answer,) = worked.app.control.time_limit(f"proj.{name}", soft=0.2, **options)
    assert next(iter(answer.values())) == {"ok": "time limits set successfully"}
    try:
        with pytest.raises(SoftTimeLimitExceeded):
            worked.task(name).delay(notes).get(timeout=WAIT_S)
    finally:
        worked.app.control.time_limit(f"proj.{name}", **options)


def test_coroutines_share_a_loop_and_each_has_its_request(worked: Project, notes: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    results = [worked.task("where").delay(str(gate), notes) for _ in range(5)]
    until(lambda: len(lines(notes)) == 5, WAIT_S)
    gate.touch()
    found = [one.get(timeout=WAIT_S) for one in results]
    assert [one[:6] for one in found] == [[result.id, "proj.where", result.id] * 2 for result in results]
    assert len({one[6] for one in found}) == 1
    for result, one in zip(results, found, strict=True):
        assert [child.id for child in result.children] == [one[7]]


def test_a_limiter_of_a_task_holds_over_both_kinds_of_worker(worked: Project, notes: str) -> None:
    """Other tasks of the queue pass those that wait."""
    with worked.worker("threads", 2):
        results = [worked.task("limited").delay(notes) for _ in range(6)]
        until(lambda: len(lines(notes)) == 2, WAIT_S)
        assert {worked.task("add").delay(1, number).get(timeout=WAIT_S) for number in range(4)} == {1, 2, 3, 4}
    assert lines(notes) == ["ran"] * 2
    assert sorted(one.state for one in results) == ["PENDING"] * 4 + ["SUCCESS"] * 2
    for one in results:
        one.revoke()


def test_a_limiter_that_cannot_be(worked: Project) -> None:
    @worked.app.task(shared=False, name="proj.mistaken", stratix_limiter={"most": 2})
    def mistaken() -> None:
        pass

    with pytest.raises(ConfigurationError, match=r"stratix_limiter of task 'proj\.mistaken'"):
        mistaken.delay()


def test_a_rate_limit_is_refused(worked: Project) -> None:
    """It would be of no effect, so nobody is told that it is set."""
    (worker,) = worked.queue.get_workers()
    options = {"destination": [worker.id.rpartition("-")[0]], "reply": True, "timeout": WAIT_S}
    (answer,) = worked.app.control.rate_limit("proj.add", "1/m", **options)
    assert "stratix_limiter" in next(iter(answer.values()))["error"]
