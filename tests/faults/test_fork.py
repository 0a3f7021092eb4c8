"""After a fork parent and children use one application side by side: each reads its own, and nothing is doubled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, create_app
from stratix_kombu.testing.forking import Child, together
from tests.waiting import until

ROUNDS = 400


@pytest.fixture
def app(settings: dict[str, Any]) -> Iterator[Application]:
    """On each driver; not started, as in a program that only adds."""
    app = create_app(settings)
    yield app
    app.close()


@pytest.fixture
def on_redis(redis_url: str) -> Iterator[Application]:
    app = create_app({"driver": "redis", "redis": {"url": redis_url}, "namespace": "forks"})
    yield app
    app.queue.get_queue("mail").obliterate(force=True)
    app.close()


@pytest.mark.parametrize("busy", [0, 3])
def test_parent_and_children_read_what_they_wrote(on_redis: Application, busy: int) -> None:
    """Also while other threads of the parent are in the middle of a command at the moment of the fork."""
    queue = on_redis.queue.get_queue("mail")
    queue.add("warm", "up")
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            queue.get_job_counts()

    threads = [threading.Thread(target=keep_asking) for _ in range(busy)]
    for thread in threads:
        thread.start()

    def work(me: str) -> int:
        wrong = 0
        for number in range(ROUNDS):
            value = f"{me}-{number}"
            queue.add("x", value, job_id=value)
            found = queue.get_job(value)
            wrong += found is None or found.data != value
        return wrong

    try:
        assert together(3, work) == [0, 0, 0, 0]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert queue.get_job_counts()["waiting"] == 4 * ROUNDS + 1


def test_what_parent_and_children_add_runs_once(app: Application) -> None:
    queue = app.queue.get_queue("mail")
    queue.add("x", "first")
    count = 25 if "sqs" in app.queue.describe() else 100  # moto is slow

    def work(me: str) -> None:
        for number in range(count):
            queue.add("x", f"{me}-{number}")

    together(3, work)
    added = [f"{me}-{number}" for me in ("parent", "child0", "child1", "child2") for number in range(count)]
    ran: list[str] = []
    queue.process("x", lambda job: ran.append(job.data))
    app.start()
    until(lambda: queue.get_job_counts()["completed"] == len(added) + 1, 60)
    assert sorted(ran) == sorted(["first", *added])


def test_what_the_parent_had_closed_a_child_can_start(on_redis: Application) -> None:
    """And the parent itself, beside it."""
    queue = on_redis.queue.get_queue("mail")
    queue.process("double", lambda job: job.data * 2)
    on_redis.start()
    assert queue.add("double", 1).wait_until_finished(10) == 2
    on_redis.close()

    def work() -> Any:
        with on_redis:
            on_redis.start()
            return [queue.add("double", number).wait_until_finished(20) for number in range(5)]

    children = [Child(work) for _ in range(2)]
    assert [work(), work()] == [[0, 2, 4, 6, 8]] * 2
    assert [child.answer() for child in children] == [[0, 2, 4, 6, 8]] * 2


def test_a_wait_begun_in_a_child_returns(on_redis: Application) -> None:
    queue = on_redis.queue.get_queue("mail")
    queue.process("double", lambda job: job.data * 2)
    on_redis.start()
    assert queue.add("double", 1).wait_until_finished(10) == 2  # the reader of the events runs

    def work() -> Any:
        return [queue.add("double", number).wait_until_finished(20) for number in range(20)]

    children = [Child(work) for _ in range(2)]
    assert work() == [2 * number for number in range(20)]
    assert [child.answer() for child in children] == [[2 * number for number in range(20)]] * 2
