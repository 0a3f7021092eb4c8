"""Ids that are taken, used again, or made of others; and handles that say what the store said."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from stratix_kombu import Application, ConfigurationError, Job, JobIdTaken
from stratix_kombu.lifecycle import add as adding
from tests.waiting import until


@pytest.mark.parametrize("way", ["add", "add_bulk", "add_flow"])
def test_an_id_of_another_queue_is_refused_before_anything_is_added(app: Application, way: str) -> None:
    one, other = app.queue.get_queue("one"), app.queue.get_queue("other")
    other.add("n", job_id="mine")
    children = [{"name": "c", "queue": "one"}, {"name": "n", "queue": "one", "opts": {"jobId": "mine"}}]
    ways: dict[str, Callable[[], object]] = {
        "add": lambda: one.add("n", job_id="mine"),
        "add_bulk": lambda: one.add_bulk([{"name": "a"}, {"name": "n", "opts": {"job_id": "mine"}}, {"name": "b"}]),
        "add_flow": lambda: app.queue.add_flow({"name": "p", "queue": "one", "children": children}),
    }
    with pytest.raises(JobIdTaken, match=r"'mine' is taken by a job of another queue, 'other'"):
        ways[way]()
    assert one.get_jobs() == []
    assert other.add("n", job_id="mine").id == "mine"


def test_an_id_of_another_queue_at_the_end_of_many(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "ONE_STEP", 3)
    app.queue.get_queue("other").add("n", job_id="mine")
    queue = app.queue.get_queue("one")
    taken = {"name": "n", "queue": "one", "opts": {"jobId": "mine"}}
    with pytest.raises(JobIdTaken):
        queue.add_bulk([*[{"name": "n"}] * 10, {"name": "n", "opts": {"job_id": "mine"}}])
    with pytest.raises(JobIdTaken):
        app.queue.add_flow([*[{"name": "n", "queue": "one"}] * 10, taken])
    assert queue.get_jobs() == []


def test_handles_say_what_the_store_said(app: Application) -> None:
    queue = app.queue.create_queue("q", concurrency=2)
    done = queue.add("done")
    queue.process("done", lambda job: 5)
    queue.start()
    done.wait_until_finished(timeout=10)
    queue.pause()
    waiting = queue.add("n", dependencies=[done.id])
    options = [{"dependencies": [waiting.id]}, {"delay": 9_999}]
    blocked, delayed = queue.add_bulk([{"name": "n", "opts": one} for one in options])
    flow = app.queue.add_flow([{"key": "a", "name": "n", "queue": "q", "dependencies": [done.id]}])
    made = [waiting, blocked, delayed, flow.root]
    assert [job.state for job in made] == ["waiting", "blocked", "delayed", "waiting"]
    for job in made:
        read = queue.get_job(job.id)
        assert read is not None
        assert (read.state, read.timestamp) == (job.state, job.timestamp)


def test_handles_of_a_large_flow(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "ONE_STEP", 2)
    other = app.queue.get_queue("q").add("sync", deduplication={"id": "d"})
    nodes = [
        {"key": "a", "name": "n", "queue": "q"},
        {"key": "b", "name": "n", "queue": "q", "opts": {"delay": 60_000}},
        {"key": "c", "name": "n", "queue": "q", "dependencies": ["a"]},
        {"key": "d", "name": "sync", "queue": "q", "opts": {"deduplication": {"id": "d"}}},
    ]
    flow = app.queue.add_flow(nodes)
    assert other.id in flow.jobs
    assert sorted(flow.states().values()) == ["blocked", "delayed", "waiting", "waiting"]
    assert {one: job.get_state() for one, job in flow.jobs.items()} == flow.states()


def test_a_handle_on_a_job_that_failed_at_once(app: Application) -> None:
    queue = app.queue.create_queue("q")

    def broken(job: Job) -> None:
        raise OSError("no")

    queue.process("broken", broken)
    queue.start()
    first = queue.add("broken")
    until(lambda: first.get_state() == "failed")
    job = queue.add("n", dependencies=[first.id])
    assert (job.state, job.failed_reason) == ("failed", f"dependency {first.id} failed: OSError: no")


def test_a_child_may_have_any_id_and_an_id_may_be_used_again(app: Application) -> None:
    queue = app.queue.create_queue("q", concurrency=3)
    ids = ["north.gate", "a.join", "b.group", "c.dead.1", "d.again", "e.task", "k"]
    flow = app.queue.add_flow(
        {
            "name": "sum",
            "queue": "q",
            "children": [
                {"name": "part", "queue": "q", "data": one, "opts": {"jobId": one, "removeOnComplete": one == "k"}}
                for one in ids
            ]
            + [{"name": "slow", "queue": "q", "opts": {"jobId": "slow", "delay": 600_000}}],
        }
    )
    queue.process("part", lambda job: job.data)
    queue.process("sum", lambda job: job.get_dependency_results())
    queue.start()
    until(lambda: queue.get_job_counts()["completed"] == len(ids) - 1 and queue.get_job("k") is None)
    queue.add("part", "second", job_id="k").wait_until_finished(timeout=10)
    assert flow.root.get_dependency_states() == {**dict.fromkeys(ids, "completed"), "slow": "delayed"}
    read = app.queue.get_flow(flow.root)
    assert read is not None
    assert set(read.jobs) == {*ids, "slow", flow.root.id} - {"k"}
    queue.process("slow", lambda job: None)
    flow.jobs["slow"].promote()
    assert flow.root.wait_until_finished(timeout=10) == {**{one: one for one in ids}, "slow": None}


@pytest.mark.parametrize("job_id", ["repeat:q:k:5", "a#dead.1.1", "a#join"])
def test_ids_that_are_made_of_others_cannot_be_chosen(app: Application, job_id: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a job id"):
        app.queue.get_queue("q").add("n", job_id=job_id)
    assert app.queue.get_queue("q").get_job(job_id) is None


def test_a_queue_to_which_others_add_is_obliterated(app: Application) -> None:
    """As often as somebody adds in between: it is not left paused, and what comes later runs."""
    queue = app.queue.create_queue("q", concurrency=4)
    stop = threading.Event()

    def go_on_adding() -> None:
        while not stop.is_set():
            queue.add("n", job_id="same")
            queue.add("n")

    adder = threading.Thread(target=go_on_adding)
    adder.start()
    try:
        for _ in range(5):
            queue.obliterate(force=True)
            assert not queue.is_paused()
    finally:
        stop.set()
        adder.join()
    queue.process(lambda job: job.id)
    last = queue.add("n")
    assert last.wait_until_finished(timeout=10) == last.id
