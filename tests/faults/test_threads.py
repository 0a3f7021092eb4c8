"""A system that has no thread left for a while: a job goes back, nothing is wedged, and all goes on later."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, Job, create_app
from tests.waiting import until


class Shortage:
    """Threads whose name begins so cannot be started while it lasts."""

    def __init__(self) -> None:
        self.of: tuple[str, ...] = ()
        self.refused = 0

    def check(self, name: str) -> None:
        if self.of and name.startswith(self.of):
            self.refused += 1
            raise RuntimeError("can't start new thread")


@pytest.fixture
def shortage(monkeypatch: pytest.MonkeyPatch) -> Shortage:
    shortage, start = Shortage(), threading.Thread.start

    def checked(self: threading.Thread) -> None:
        shortage.check(self.name)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", checked)
    return shortage


@pytest.fixture
def app() -> Iterator[Application]:
    app = create_app({"driver": "memory", "namespace": f"threads{uuid.uuid4().hex[:8]}"})
    yield app
    app.close(5)


def _echo(job: Job) -> Any:
    return job.data


async def _async_echo(job: Job) -> Any:
    return job.data


@pytest.mark.parametrize(
    ("thread", "handler", "options"),
    [
        ("stratix-work-1", _echo, {}),
        ("stratix-work-timeouts", _echo, {"timeout": 60_000}),
        ("stratix-loop", _async_echo, {}),
    ],
)
def test_a_job_that_cannot_begin_goes_back(
    app: Application, shortage: Shortage, thread: str, handler: Any, options: dict[str, Any]
) -> None:
    queue = app.queue.create_queue("work", concurrency=2)
    errors: list[str] = []
    queue.process(handler)
    queue.on("error", lambda error: errors.append(str(error)))
    app.start()
    shortage.of = (thread,)
    jobs = [queue.add("n", number, **options) for number in range(3)]
    until(lambda: shortage.refused >= 3)
    until(lambda: errors)
    shortage.of = ()
    assert [job.wait_until_finished(timeout=10) for job in jobs] == [0, 1, 2]
    assert {job.refresh().attempts_made for job in jobs} == {1}
    assert errors == ["jobs cannot be started here and were handed back: can't start new thread"], "once for one cause"


def test_a_second_thread_that_cannot_be_started(app: Application, shortage: Shortage) -> None:
    """What runs goes on; then its thread takes the others, one after the other."""
    queue = app.queue.create_queue("work", concurrency=3)
    go_on = threading.Event()
    queue.process("long", lambda job: go_on.wait(30))
    queue.process("n", _echo)
    app.start()
    long = queue.add("long")
    until(lambda: long.refresh().state == "active")
    shortage.of = ("stratix-work-2", "stratix-work-3")
    short = queue.add("n", 7)
    until(lambda: shortage.refused >= 2)
    assert long.refresh().state == "active"
    go_on.set()
    assert long.wait_until_finished(timeout=10) is True
    assert short.wait_until_finished(timeout=10) == 7


@pytest.mark.parametrize("thread", ["heartbeat", "watch"])
def test_a_worker_that_cannot_start_leaves_nothing(app: Application, shortage: Shortage, thread: str) -> None:
    queue = app.queue.create_queue("work")
    queue.process("a", _echo)
    shortage.of = (f"stratix-{thread}",)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        app.start()
    assert queue.worker is None
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("stratix-work-")])
    shortage.of = ()
    queue.process("b", _echo)  # which starts it
    assert queue.add("b", 5).wait_until_finished(timeout=10) == 5


@pytest.mark.parametrize("thread", ["settler", "consumer"])
def test_a_queue_that_cannot_be_woken_is_woken_later(app: Application, shortage: Shortage, thread: str) -> None:
    faults = app.queue.engine.faults
    queue = app.queue.create_queue("work")
    queue.process(_echo)
    app.start()
    shortage.of = (f"stratix-work-{thread}",)
    job = queue.add("n", 5)
    until(lambda: shortage.refused >= 2)
    assert faults["start_failed"] >= 1
    assert job.refresh().state == "waiting"
    shortage.of = ()
    assert job.wait_until_finished(timeout=10) == 5


def test_closing_needs_no_thread(app: Application, shortage: Shortage) -> None:
    queues = [app.queue.create_queue(name) for name in ("work", "other")]
    for queue in queues:
        queue.process(_echo)
    app.start()
    shortage.of = ("stratix-close",)
    assert app.close(5)
    assert shortage.refused == 3  # one for each queue, one for the connections
    assert [queue.worker for queue in queues] == [None, None]


def test_a_schedule_goes_on(app: Application, shortage: Shortage) -> None:
    ran = threading.Event()
    app.schedule.interval("100ms", ran.set, name="tick")
    shortage.of = ("stratix-schedule-tick",)
    app.start()
    until(lambda: shortage.refused >= 2)
    shortage.of = ()
    assert ran.wait(10)
    (info,) = app.schedule.list()
    assert info.skipped >= 2
    assert not info.failures


def test_a_listener_gets_what_came_while_it_could_not_run(app: Application, shortage: Shortage) -> None:
    queue = app.queue.create_queue("work")
    heard: list[str] = []
    queue.on("waiting", lambda job: heard.append(job.id))
    shortage.of = ("stratix-on-waiting",)
    first = queue.add("n")
    until(lambda: shortage.refused)
    shortage.of = ()
    second = queue.add("n")
    until(lambda: heard == [first.id, second.id])


def test_who_waits_for_a_job_and_cannot_may_ask_again(app: Application, shortage: Shortage) -> None:
    queue = app.queue.create_queue("work")
    queue.process(_echo)
    app.start()
    job = queue.add("n", 1)
    shortage.of = ("stratix-events",)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        queue.on("completed", lambda job, result: None)
    shortage.of = ()
    assert job.wait_until_finished(timeout=10) == 1
