"""What is added with many dependencies goes in several steps, all or none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from stratix_kombu import Application, DependencyNotFound, Job
from stratix_kombu.lifecycle import add as adding
from stratix_kombu.model.record import Added, Change, NewJob
from stratix_kombu.types import BulkJob
from tests.waiting import until

STEP = 20


@pytest.fixture
def steps(app: Application, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many jobs and edges each step of the store has added."""
    monkeypatch.setattr(adding, "ONE_STEP", STEP)
    transitions = app.queue.store.transitions
    add, add_meanwhile, add_dependency = transitions.add, transitions.add_meanwhile, transitions.add_dependency
    steps: list[int] = []

    def adds(jobs: Sequence[NewJob]) -> Added:
        steps.append(sum(1 + len(job.dependencies) for job in jobs))
        return add(jobs)

    def adds_meanwhile(jobs: Sequence[NewJob], meanwhile: Callable[[], object]) -> Added:
        before = len(steps)
        added = add_meanwhile(jobs, meanwhile)
        if len(steps) == before:  # it did not add them by ``add``
            steps.append(sum(1 + len(job.dependencies) for job in jobs))
        return added

    def adds_edges(job_id: str, *dependency_ids: str) -> Change:
        steps.append(len(dependency_ids))
        return add_dependency(job_id, *dependency_ids)

    monkeypatch.setattr(transitions, "add", adds)
    monkeypatch.setattr(transitions, "add_meanwhile", adds_meanwhile)
    monkeypatch.setattr(transitions, "add_dependency", adds_edges)
    return steps


def _parts(app: Application, count: int) -> list[Job]:
    return app.queue.get_queue("parts").add_bulk([{"name": "p", "data": n} for n in range(count)])


def _bulk(count: int, dependencies: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"name": "n", "opts": {"dependencies": [*dependencies]}} for _ in range(count)]


@pytest.mark.parametrize("count", [STEP - 2, STEP - 1, STEP, STEP + 1, 3 * STEP + 5])
def test_one_job_with_many_dependencies(app: Application, steps: list[int], count: int) -> None:
    parts = _parts(app, count)
    queue = app.queue.get_queue("q")
    job = queue.add("all", dependencies=parts)
    assert job.state == "blocked"
    assert {one.id for one in job.get_dependencies()} == {one.id for one in parts}
    assert max(steps) <= STEP
    queue.process(lambda job: sum(job.get_dependency_results().values()))
    app.queue.get_queue("parts").process(lambda job: job.data)
    assert job.wait_until_finished(timeout=20) == sum(range(count))


def test_edges_count_like_jobs_in_bulk(app: Application, steps: list[int]) -> None:
    parts = _parts(app, 8)
    steps.clear()
    jobs = app.queue.get_queue("q").add_bulk(_bulk(9, parts))
    assert steps == [18, 18, 18, 18, 9]
    assert [job.state for job in jobs] == ["blocked"] * 9
    assert all(len(job.get_dependencies()) == 8 for job in jobs)


def test_edges_count_like_jobs_in_a_flow(app: Application, steps: list[int]) -> None:
    nodes: list[dict[str, Any]] = [{"key": f"{n}", "name": "n", "queue": "q"} for n in range(12)]
    nodes.append({"key": "join", "name": "n", "queue": "q", "dependencies": [f"{n}" for n in range(12)]})
    flow = app.queue.add_flow(nodes)
    assert max(steps) <= STEP + 12, "with the gate's"
    assert [job.state for job in flow] == ["waiting"] * 12 + ["blocked"]


def test_nothing_starts_before_all_is_there(
    app: Application, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even what depends on jobs that have completed only."""
    queue = app.queue.get_queue("q")
    queue.process(lambda job: job.name)
    done = queue.add("done")
    done.wait_until_finished(timeout=10)
    transitions = app.queue.store.transitions
    add, states = transitions.add, list[str]()

    def looks(jobs: Sequence[NewJob]) -> Added:
        answer = add(jobs)
        states.extend(one.state.value for one in answer.placed if one)
        return answer

    monkeypatch.setattr(transitions, "add", looks)
    nodes = [{"key": f"{n}", "name": "n", "queue": "q", "dependencies": [done]} for n in range(STEP)]
    flow = app.queue.add_flow(nodes)
    assert set(states[1:]) == {"blocked"}
    assert [job.wait_until_finished(timeout=20) for job in flow] == ["n"] * STEP


def test_one_of_many_dependencies_is_unknown(app: Application, steps: list[int]) -> None:
    queue = app.queue.get_queue("q")
    parts = _parts(app, 3 * STEP)
    with pytest.raises(DependencyNotFound, match="nobody"):
        queue.add("all", dependencies=[*parts, "nobody"])
    assert queue.get_jobs() == []
    assert parts[0].refresh().state == "waiting"


@pytest.mark.parametrize("bad", [0, -1])
def test_one_of_many_dependencies_has_failed(app: Application, steps: list[int], bad: int) -> None:
    parts = _parts(app, 3 * STEP)
    parts[bad].cancel("no")
    job = app.queue.get_queue("q").add("all", dependencies=parts)
    assert job.state == "failed"
    assert job.failed_reason == f"dependency {parts[bad].id} failed: no"
    gone = app.queue.get_queue("q").add("all", dependencies=parts, remove_on_fail=True)
    until(lambda: app.queue.get_queue("q").get_job(gone.id) is None)


def test_a_job_with_many_dependencies_that_is_there(app: Application, steps: list[int]) -> None:
    parts = _parts(app, 2 * STEP)
    queue = app.queue.get_queue("q")
    for _ in range(2):
        job = queue.add("all", job_id="all", dependencies=parts)
        assert (job.id, job.state) == ("all", "blocked")
    first = queue.add("d", deduplication={"id": "d"}, dependencies=parts)
    assert queue.add("d", deduplication={"id": "d"}, dependencies=parts).id == first.id


def test_a_generator_of_jobs_is_read_once(app: Application, steps: list[int]) -> None:
    queue = app.queue.get_queue("q")
    count = 2 * STEP + 1
    names = [job.id for job in queue.add_bulk({"name": "n", "opts": {"job_id": f"j{n}"}} for n in range(count))]
    assert names == [f"j{n}" for n in range(count)]
    assert steps == [STEP, STEP, 1]
    assert len(queue.add_bulk({"name": "n"} for _ in range(3))) == 3


def test_a_generator_of_jobs_that_raises_adds_none(app: Application, steps: list[int]) -> None:
    def rows() -> Iterator[BulkJob]:
        for _ in range(2 * STEP):
            yield {"name": "n"}
        raise EOFError

    with pytest.raises(EOFError):
        app.queue.get_queue("q").add_bulk(rows())
    assert steps == []


def test_a_generator_of_jobs_is_read_by_the_thread_that_calls(app: Application, steps: list[int]) -> None:
    threads: set[int] = set()

    def rows() -> Iterator[BulkJob]:
        for _ in range(STEP + 1):
            threads.add(threading.get_ident())
            yield {"name": "n"}

    async def adds() -> list[Job]:
        return await app.queue.get_queue("q").aio.add_bulk(rows())

    assert len(asyncio.run(adds())) == STEP + 1
    assert threads == {threading.get_ident()}, "a cursor of SQLite, say, may be used by no other"
    assert steps == [STEP, 1]
