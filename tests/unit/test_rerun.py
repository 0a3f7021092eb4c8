"""Completed jobs that run again, alone or with what depends on them; and the progress of a flow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, InvalidJobState, Job, JobNotFound
from tests.waiting import until


def work(job: Job) -> Any:
    return [job.data, *(result for _, result in sorted(job.get_dependency_results().items()))]


def test_a_job_runs_again(app: Application) -> None:
    queue = app.queue.get_queue("q")
    queue.process(work)
    job = queue.add("n", 1)
    assert job.wait_until_finished(timeout=10) == [1]
    job.update_data(2)
    job.rerun()
    assert job.wait_until_finished(timeout=10) == [2]
    assert job.refresh().attempts_made == 2
    asyncio.run(job.aio.rerun())
    until(lambda: job.refresh().attempts_made == 3)
    job.wait_until_finished(timeout=10)


def test_with_what_depends_on_it(app: Application) -> None:
    queue = app.queue.get_queue("q")
    queue.process(work)
    first = queue.add("n", 1, job_id="first")
    second = queue.add("n", 2, job_id="second", dependencies=[first])
    last = queue.add("n", 3, job_id="last", dependencies=[second])
    assert last.wait_until_finished(timeout=10) == [3, [2, [1]]]
    first.update_data(7)
    first.rerun(dependents=True)
    until(lambda: last.refresh().attempts_made == 2)
    assert last.wait_until_finished(timeout=10) == [3, [2, [7]]]
    second.rerun()
    until(lambda: second.refresh().attempts_made == 3 and second.state == "completed")
    assert [first.refresh().attempts_made, last.refresh().attempts_made] == [2, 2]


def test_what_cannot_run_again(app: Application) -> None:
    queue = app.queue.get_queue("q")
    job = queue.add("n", delay=60_000)
    with pytest.raises(InvalidJobState, match="delayed"):
        job.rerun()
    with pytest.raises(ConfigurationError, match="'dependents'"):
        job.rerun(dependents="yes")  # type: ignore[arg-type]
    job.remove()
    with pytest.raises(JobNotFound):
        job.rerun()


def test_the_progress_of_a_flow(app: Application) -> None:
    queue = app.queue.get_queue("etl")

    @queue.process("fine")
    def fine(job: Job) -> None:
        pass

    @queue.process("bad")
    def bad(job: Job) -> None:
        raise ValueError("no")

    flow = app.queue.add_flow(
        {
            "name": "fine",
            "queue": "etl",
            "children": [
                {"name": "fine", "queue": "etl"},
                {"name": "bad", "queue": "etl"},
                {"name": "fine", "queue": "etl", "opts": {"delay": 60_000}},
            ],
        }
    )
    none = {"waiting": 0, "active": 0, "delayed": 0, "blocked": 0, "completed": 0, "failed": 0, "removed": 0}
    until(lambda: flow.counts() == {**none, "completed": 1, "delayed": 1, "failed": 2})
    queue.get_jobs("delayed")[0].remove()
    assert asyncio.run(flow.aio.counts()) == {**none, "completed": 1, "failed": 2, "removed": 1}
    assert set(flow.states().values()) != {"completed"}, "the handles show what was added"
    again = app.queue.get_flow(flow.root)
    assert again is not None
    assert again.counts() == {**none, "completed": 1, "failed": 2}
