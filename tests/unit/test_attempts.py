"""``job.get_attempts()``: what a job's attempts were, with a worker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stratix_kombu import Application, JobNotFound
from stratix_kombu.model.attempts import attempts_of
from stratix_kombu.model.bare import bare_record
from stratix_kombu.model.state import State
from tests.waiting import until


def test_attempts_of_a_job_that_failed_before(app: Application) -> None:
    queue = app.queue.create_queue("q")

    @queue.process
    async def handle(job: Any) -> str:
        if job.attempts_made == 0:
            await asyncio.sleep(60)
        if job.attempts_made == 1:
            raise JobNotFound("x")
        return "done"

    job = queue.add("n", attempts=3, timeout=50)
    job.wait_until_finished(timeout=20)
    (worker,) = queue.get_workers()
    first, second, third = job.get_attempts()
    assert [one.worker for one in (first, second, third)] == [worker.id] * 3
    assert (first.number, first.outcome, first.error_path) == (1, "timeout", None)
    assert (second.outcome, second.error_path) == ("failed", "stratix_kombu.errors.JobNotFound")
    assert (second.stacktrace or "").startswith("Traceback")
    assert (third.outcome, third.started_on, third.finished_on) == ("completed", job.processed_on, job.finished_on)
    assert third.to_dict()["outcome"] == "completed"
    assert asyncio.run(job.aio.get_attempts()) == [first, second, third]


def test_attempts_of_a_job_that_runs_and_of_one_that_is_gone(app: Application) -> None:
    queue = app.queue.create_queue("q")
    job = queue.add("n")
    assert job.get_attempts() == []
    queue.process(lambda job: job.log(str([one.outcome for one in job.get_attempts()])))
    until(lambda: job.get_state() == "completed")
    assert job.get_logs() == ["['active']"]
    job.remove()
    with pytest.raises(JobNotFound):
        job.get_attempts()


@pytest.mark.parametrize(
    ("reason", "trace", "path"),
    [
        ("ValueError: a: b", "", "ValueError"),
        ("Gone", '["x\\npkg.errors.Gone\\n"]', "pkg.errors.Gone"),
        ("Gone: a\nb: c", '["x\\npkg.errors.Gone: a\\nb: c\\n"]', "pkg.errors.Gone"),
        ("no handler for 'n'", "", None),
        ("", "", None),
        ("Gone: x", "{", "Gone"),
        ("TimeLimitExceeded(1,)", "", None),
    ],
)
def test_the_class_of_an_error(reason: str, trace: str, path: str | None) -> None:
    record = bare_record("a", "q", "n", State.ACTIVE)
    (one,) = attempts_of(record, [(1, 5, 6, "w", "failed", reason, trace)])
    assert one.error_path == path


@pytest.mark.parametrize("reason", ["timed out after 5 ms", "SoftTimeLimitExceeded: ()", "TimeLimitExceeded(1,)"])
def test_attempts_that_took_too_long(reason: str) -> None:
    (one,) = attempts_of(bare_record("a", "q", "n", State.ACTIVE), [(1, 5, 6, "w", "failed", reason, "")])
    assert (one.outcome, one.reason) == ("timeout", reason)
