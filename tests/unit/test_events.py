"""Events of queues and of the user's own, as listeners hear them; each application stands for a process."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, Job, PayloadNotSerializable, Queue, create_app
from stratix_kombu.model.event import BUILT_IN
from tests.waiting import until


@pytest.fixture
def settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Quick to notice a job whose worker is gone."""
    return {**settings, "worker": {"stalled_check_interval": 50}}


@pytest.fixture
def elsewhere(settings: dict[str, Any]) -> Iterator[Application]:
    """Another application of the namespace, which runs no handler."""
    with create_app({**settings, "worker": {"clock": False}}) as app:
        app.start()
        yield app


def hear(queue: Queue, events_heard: list[tuple[Any, ...]], *names: str) -> None:
    """Note what one listener after another hears; each name has a thread of its own."""
    for name in names:
        queue.on(name, lambda *given, name=name: events_heard.append((name, *(_plain(one) for one in given))))


def _plain(given: Any) -> Any:
    if isinstance(given, Job):
        return given.id
    return getattr(given, "reason", given)


def test_each_event_reaches_listeners_elsewhere(app: Application, elsewhere: Application) -> None:
    events_heard: list[tuple[Any, ...]] = []
    names = sorted(BUILT_IN - {"error"})
    hear(elsewhere.queue.get_queue("q"), events_heard, *names)
    queue = app.queue.create_queue("q", concurrency=2)

    def work(job: Job) -> str:
        job.update_progress({"half": True})
        if job.name == "bad":
            raise ValueError("no")
        return "done"

    queue.add("lost", job_id="lost")
    # A worker that never renews its lease.
    assert app.queue.store.transitions.claim("q", ["lost"], "gone", 1).claims
    queue.pause()
    queue.add("good", job_id="good")
    queue.add("good", job_id="good")
    queue.add("bad", job_id="bad", attempts=2, backoff=1)
    queue.add("after", job_id="after", dependencies=["good"])
    queue.add("late", job_id="late", delay=3_600_000).remove()
    queue.resume()
    queue.process(work)
    until(lambda: sum(one[0] in ("completed", "failed") for one in events_heard) == 4)
    queue.clean(limit=2)
    wanted = [
        ("paused",),
        ("resumed",),
        ("duplicated", "good"),
        ("waiting", "good"),
        ("active", "good"),
        ("progress", "good", {"half": True}),
        ("completed", "good", "done"),
        ("blocked", "after"),
        ("delayed", "late"),
        ("removed", "late"),
        ("failed", "bad", "ValueError: no"),
        ("delayed", "bad"),
        ("retries_exhausted", "bad"),
        ("drained",),
        ("cleaned", 2),
        ("stalled", "lost"),
    ]
    until(lambda: all(one in events_heard for one in wanted))
    assert {one[0] for one in events_heard} == set(names)


def test_one_listener_hears_in_order(app: Application, elsewhere: Application) -> None:
    heard: dict[str, list[int]] = {"progress": [], "completed": []}
    watched = elsewhere.queue.get_queue("q")
    watched.on("progress", lambda job, value: heard["progress"].append(value))
    watched.on("completed", lambda job, result: heard["completed"].append(result))
    queue = app.queue.get_queue("q")

    def work(job: Job) -> Any:
        for step in range(3):
            job.update_progress(job.data * 3 + step)
        return job.data

    queue.process(work)
    queue.add_bulk([{"name": "n", "data": number} for number in range(30)])
    until(lambda: (len(heard["completed"]), len(heard["progress"])) == (30, 90))
    assert heard["completed"] == list(range(30))
    assert heard["progress"] == list(range(90))


def test_names_may_be_spelled_as_documented(app: Application) -> None:
    queue, events_heard = app.queue.get_queue("q"), threading.Event()
    queue.on("retriesExhausted", lambda job: events_heard.set())
    queue.process(lambda job: 1 / 0)
    queue.add("n", attempts=2)
    assert events_heard.wait(10)
    assert queue.off("retries_exhausted") == 1
    with pytest.raises(ConfigurationError, match=r"unknown event 'stall'.*'stalled'.*app\.queue\.on"):
        queue.on("stall", print)


def test_a_listener_that_is_a_coroutine(app: Application) -> None:
    queue, events_heard = app.queue.get_queue("q"), list[Any]()

    @queue.on("completed")
    async def completed(job: Job, result: Any) -> None:
        await asyncio.sleep(0)
        events_heard.append((await job.aio.get_state(), result))

    queue.process(lambda job: job.data)
    queue.add("n", 5)
    until(lambda: events_heard == [("completed", 5)])


# -- handlers that listeners register ----------------------------------------------------------------


def test_queues_by_priority(app: Application) -> None:
    """The documented pattern: each queue is worked on when the one before has nothing left."""
    ran: list[str] = []
    queues = [app.queue.get_queue(f"{level}-priority") for level in ("high", "normal", "low")]

    def work(job: Job) -> None:
        ran.append(job.queue_name)

    for queue, after in pairwise(queues):
        queue.on("drained", lambda after=after: after.process(work))
    for queue in reversed(queues):
        queue.add_bulk([{"name": "n"}] * 5)
    queues[0].process(work)
    until(lambda: len(ran) == 15)
    assert ran == [queue.name for queue in queues for _ in range(5)]
    queues[0].add_bulk([{"name": "n"}] * 5)  # drained once more: the handlers are there already
    until(lambda: len(ran) == 20)
    assert [len(queue.get_workers()) for queue in queues] == [1, 1, 1]


def test_the_same_handler_again_changes_nothing(app: Application) -> None:
    queue = app.queue.get_queue("q")

    def one(job: Job) -> int:
        return 1

    threads = [threading.Thread(target=queue.process, args=(one,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(ConfigurationError, match="already has a different handler for all jobs"):
        queue.process(lambda job: 2)
    assert queue.add("n").wait_until_finished(timeout=10) == 1
    until(lambda: len(queue.get_workers()) == 1)


# -- events of the user's own -----------------------------------------------------------------------


def test_own_events_reach_every_application_in_order(app: Application, elsewhere: Application) -> None:
    heard: list[list[Any]] = [[], []]
    first: list[Any] = []
    for one, notes in zip((app, elsewhere), heard, strict=True):
        one.queue.on("user.registered", lambda *data, notes=notes: notes.append(list(data)))
    elsewhere.queue.once("user.registered", lambda *data: first.append(data))

    async def tell() -> None:
        await elsewhere.queue.aio.emit("user.registered", {"id": 2}, "by", None)

    app.queue.emit("user.registered", {"id": 1})
    app.queue.emit("somethingElse")
    asyncio.run(tell())
    for number in range(3, 50):
        app.queue.emit("user.registered", {"id": number})
    until(lambda: all(len(notes) == 49 for notes in heard))
    assert heard[0] == heard[1] == [[{"id": 1}], [{"id": 2}, "by", None], *([{"id": n}] for n in range(3, 50))]
    assert first == [({"id": 1},)]
    assert elsewhere.queue.off("user.registered") == 1
    assert app.queue.get_all_queues() == []
    assert app.queue.store.queries.queues() == []


def test_namespaces_do_not_hear_each_other(app: Application, settings: dict[str, Any]) -> None:
    heard: list[str] = []
    with create_app({**settings, "namespace": f"other{uuid.uuid4().hex[:8]}"}) as other:
        other.start()
        for one, name in ((app, "here"), (other, "there")):
            one.queue.on("note", lambda name=name: heard.append(name))
        other.queue.emit("note")
        until(lambda: heard)
        app.queue.emit("note")
        until(lambda: len(heard) == 2)
    assert heard == ["there", "here"]


def test_own_events_that_are_refused(app: Application) -> None:
    for name in ("completed", "retriesExhausted", "error"):
        for use in (app.queue.emit, lambda one: app.queue.on(one, print), app.queue.off):
            with pytest.raises(ConfigurationError, match=r"is an event of queues: listen with queue\.on"):
                use(name)
    with pytest.raises(ConfigurationError, match="cannot name an event"):
        app.queue.emit("")
    with pytest.raises(PayloadNotSerializable, match="the data of event 'note'"):
        app.queue.emit("note", object())
    with pytest.raises(ConfigurationError, match="must be a function"):
        app.queue.on("note", 5)  # type: ignore[arg-type]
