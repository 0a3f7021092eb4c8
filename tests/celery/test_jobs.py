"""Jobs of ``queue.process`` in Celery workers: in sandboxes, over their time, and cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import JobFailed
from tests.celery.conftest import lines, project_on
from tests.celery.workers import Project, WorkerProcess
from tests.processes import lives
from tests.waiting import until

WAIT_S = 60


@pytest.fixture(scope="module", params=["threads", "prefork"])
def worked(request: pytest.FixtureRequest) -> Iterator[tuple[Project, WorkerProcess]]:
    """A project on Redis, and a worker of two slots."""
    project = project_on("redis", request)
    queues = f"{project.queue.name},{project.queue.name}.boxed"
    worker = project.start_worker(request.param, 2, "-Q", queues)
    yield project, worker
    worker.end()
    project.close()


def boxed(project: Project) -> Any:
    return project.app.stratix.queue.get_queue(f"{project.queue.name}.boxed")


def reason_of(job: Any) -> str:
    with pytest.raises(JobFailed) as failed:
        job.wait_until_finished(timeout=WAIT_S)
    return failed.value.reason


def test_sandboxed_jobs(worked: tuple[Project, WorkerProcess]) -> None:
    project, worker = worked
    queue = boxed(project)
    first = queue.add("fine", 1)
    child = first.wait_until_finished(timeout=WAIT_S)["pid"]
    assert child != worker.process.pid
    assert lives(child)
    result = queue.add("use_the_job", {"old": True}, dependencies=[first]).wait_until_finished(timeout=WAIT_S)
    assert (result["logs"], result["data"]) == (["one", "two"], {"new": True})
    assert result["results"] == {first.id: {"pid": child, "data": 1}}
    assert reason_of(queue.add("leave")) == "the sandbox exited with code 3 in the middle of the job"
    assert reason_of(queue.add("loop", timeout=200)) == "timed out after 200 ms; its sandbox was killed"
    assert queue.add("fine", 2).wait_until_finished(timeout=WAIT_S)["data"] == 2


def test_a_sandboxed_job_is_cancelled_from_another_process(worked: tuple[Project, WorkerProcess], notes: str) -> None:
    project, _ = worked
    job = boxed(project).add("deaf", notes, attempts=3)
    until(lambda: lines(notes), WAIT_S)
    pids = [int(one) for one in lines(notes)[0].split()]
    job.cancel("by user 7")
    assert reason_of(job) == "by user 7"
    assert job.was_cancelled
    until(lambda: not any(lives(one) for one in pids), WAIT_S)
    assert job.refresh().attempts_made == 1


def test_a_plain_handler_that_takes_too_long_has_failed(
    worked: tuple[Project, WorkerProcess], notes: str, tmp_path: Path
) -> None:
    """In time, although its thread goes on; what it returns later is not taken."""
    project, _ = worked
    gate = tmp_path / "gate"
    job = project.queue.add("patient", {"notes": notes, "gate": str(gate)}, timeout=200)
    assert reason_of(job) == "timed out after 200 ms"
    assert [line.split()[0] for line in lines(notes)] == ["began"]
    gate.touch()
    until(lambda: lines(notes)[-1] == "ended", WAIT_S)
    assert project.queue.add("greet", {"name": "Ada"}).wait_until_finished(timeout=WAIT_S)["hello"] == "Ada"
    assert (job.refresh().state, job.return_value, job.attempts_made) == ("failed", None, 1)


def test_a_handler_that_hears_that_its_time_is_over(worked: tuple[Project, WorkerProcess], notes: str) -> None:
    project, _ = worked
    data = {"notes": notes, "gate": "/nowhere", "hears": True}
    job = project.queue.add("patient", data, timeout=100, attempts=2)
    assert reason_of(job) == "timed out after 100 ms"
    until(lambda: sorted(line.split()[0] for line in lines(notes)) == ["began"] * 2 + ["ended"] * 2, WAIT_S)


def test_handlers_are_cancelled_from_another_process(worked: tuple[Project, WorkerProcess], tmp_path: Path) -> None:
    project, _ = worked
    for name, reason in (("patient", ""), ("patient async", "by user 7")):
        notes = str(tmp_path / name)
        job = project.queue.add(name, {"notes": notes, "gate": "/nowhere", "hears": True}, attempts=3)
        until(Path(notes).exists, WAIT_S)
        job.cancel("by user 7")
        if reason:
            assert reason_of(job) == reason
            assert job.was_cancelled
        else:
            assert job.wait_until_finished(timeout=WAIT_S) == "late", "what it returns in spite of that is accepted"
        until(lambda notes=notes: lines(notes)[-1] == "ended", WAIT_S)  # type: ignore[misc]
        assert job.refresh().attempts_made == 1


def test_the_children_end_with_the_worker(worked: tuple[Project, WorkerProcess]) -> None:
    project, worker = worked
    child = boxed(project).add("fine").wait_until_finished(timeout=WAIT_S)["pid"]
    assert lives(child)
    worker.end()
    until(lambda: not lives(child), WAIT_S)
