"""What projects do besides sending tasks, beside stock Celery: purge, settings, companions that wrap Celery."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from celery import Celery, chord, group
from celery.app.base import Celery as CeleryClass
from celery.app.task import Context
from kombu import Producer

from stratix_kombu import ConfigurationError
from stratix_kombu.celery import install
from stratix_kombu.celery.task import adopt
from tests.celery.beside import Beside, Side, beside, outcome, value
from tests.celery.test_beside_routes import both
from tests.celery.workers import ROOT
from tests.waiting import WAIT_S, until


@pytest.fixture(scope="module")
def pair(redis_url: str) -> Iterator[Beside]:
    with beside(redis_url, redis_url) as both_sides:
        yield both_sides


@pytest.mark.parametrize("way", ["control", "command"])
def test_what_was_purged_is_gone(redis_url: str, way: str) -> None:
    with both(redis_url) as apps:
        counts = []
        for app, name in apps.values():
            results = [app.send_task("any.task", (number,)) for number in range(3)]
            if way == "control":
                counts.append(app.control.purge())
            else:
                lines = [
                    "from celery.bin.celery import celery",
                    "from celery import Celery",
                    "from stratix_kombu.celery import install",
                    f"app = Celery('purge', broker={redis_url!r})",
                    f"app.conf.task_default_queue = {name!r}",
                    f"install(app, namespace={name!r})" if hasattr(app, "stratix") else "",
                    "celery(['-A', '__main__', 'purge', '-f'])",
                ]
                done = subprocess.run(
                    [sys.executable, "-c", "\n".join(lines)],
                    cwd=ROOT,
                    env=os.environ,
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                counts.append(done.stdout.strip())
            assert [one.state for one in results] == ["PENDING"] * 3
            if hasattr(app, "stratix"):
                assert not app.stratix.queue.get_queue(name).get_jobs()
        assert counts[0] == counts[1]


def test_a_message_that_may_not_be_read_is_dropped_once(pair: Beside) -> None:
    def script(side: Side) -> Any:
        result = side.app.send_task("proj.same", (1,), serializer="pickle")
        until(lambda: "Refusing to deserialize untrusted content of type pickle" in side.log(), WAIT_S)
        assert value(side.task("add").delay(1, 1)) == 2
        return result

    pair.both(lambda side: script(side) and None)
    result = script(pair.bridge)
    until(lambda: result.state == "FAILURE", WAIT_S)
    assert "of type pickle" in str(result.result)


def test_the_request_beside(pair: Beside) -> None:
    def script(side: Side) -> Any:
        seen = value(side.task("seen").apply_async(headers={"mine": 1}, priority=3))
        return {**seen, "queue": seen["delivery_info"].pop("routing_key") == side.app.conf.task_default_queue}

    assert pair.both(script)["headers"]["mine"] == 1


def test_the_old_protocol_is_refused_in_words(redis_url: str) -> None:
    app = Celery("old", broker=redis_url, set_as_current=False)
    app.conf.task_protocol = 1
    install(app, namespace="old")
    with pytest.raises(ConfigurationError, match="task_protocol 2"):
        app.send_task("any.task")


def test_eager_results_are_stored_if_the_project_says_so(redis_url: str) -> None:
    answers = []
    with both(redis_url, task_always_eager=True, task_store_eager_result=True) as apps:
        for app, _ in apps.values():

            @app.task(shared=False, name="eager.add")
            def add(x: int, y: int) -> int:
                return x + y

            @app.task(shared=False, name="eager.boom")
            def boom() -> None:
                raise ValueError("boom")

            heard = [add.delay(1, 2), boom.delay()]
            answers.append([(app.AsyncResult(one.id).state, repr(app.AsyncResult(one.id).result)) for one in heard])
    assert answers == [[("SUCCESS", "3"), ("FAILURE", "ValueError('boom')")]] * 2


def test_failures_are_kept_as_long_as_the_project_says(redis_url: str) -> None:
    with both(redis_url, result_expires=3600, result_failure_expires=7200) as apps:
        app, _ = apps["bridge"]
        failed, completed = app.stratix_bridge.publisher.retention(False)
        assert (failed.age_ms, completed.age_ms) == (7_200_000, 3_600_000)


@pytest.mark.parametrize("before", [True, False])
def test_who_wraps_celery_sees_every_task(redis_url: str, monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    """As Sentry and New Relic do, before the bridge is installed or after that."""
    seen: list[str] = []
    send, publish = CeleryClass.send_task, Producer.publish

    def wrap() -> None:
        def send_task(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
            seen.append(f"send {name}")
            return send(self, name, *args, **{**kwargs, "headers": {**(kwargs.get("headers") or {}), "trace": "t1"}})

        def published(self: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(f"publish {kwargs['headers']['task']}")
            kwargs["headers"]["span"] = "s1"
            return publish(self, *args, **kwargs)

        monkeypatch.setattr(CeleryClass, "send_task", send_task)
        monkeypatch.setattr(Producer, "publish", published)

    if before:
        wrap()
    with both(redis_url) as apps:
        app, name = apps["bridge"]
        if not before:
            wrap()
        chord([app.signature("one.task"), app.signature("two.task")], app.signature("body.task")).apply_async()
        jobs = app.stratix.queue.get_queue(name).get_jobs()
        assert len(jobs) == 4
        wanted = [f"{what} {task}" for what in ("publish", "send") for task in ("one.task", "stratix.join", "two.task")]
        assert sorted(seen) == wanted
        with app.connection_for_read() as connection:
            message = connection.SimpleQueue(name).get(timeout=WAIT_S)
            assert (message.headers["trace"], message.headers["span"]) == ("t1", "s1")
            message.ack()


def test_workers_come_first_and_their_producers_are_answered(pair: Beside, tmp_path: Path) -> None:
    """What a producer without the bridge waits for it finds where it looks, whatever its worker is."""

    def script(side: Side) -> Any:
        plain = side.project.make(bridge=False)
        plain.backend.remove_pending_result = lambda result: result
        task = {one: plain.tasks[f"proj.{one}"] for one in ("add", "flaky", "boom", "total", "same", "tracked", "note")}
        add, total = task["add"], task["total"]
        answers = [
            value(task["flaky"].delay("z", 2, 0.01)),
            value((add.s(1, 1) | add.s(1) | add.s(1)).apply_async()),
            value(chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async()),
            value((add.s(1, 1) | group(add.s(1), add.s(2)) | total.s() | add.s(1)).apply_async()),
            value((task["boom"].s() | add.s(1)).apply_async()),
            value(chord([add.s(1, 1), task["boom"].s()], total.s()).apply_async()),
            value(chord([task["flaky"].s(5, 1, 0.01), task["flaky"].s(6, 0)], task["same"].s()).apply_async()),
        ]
        expired = add.apply_async((1, 1), expires=-10)
        gate = tmp_path / side.name
        started = task["tracked"].delay(str(gate))
        until(lambda: expired.state == "REVOKED" and started.state == "STARTED", WAIT_S)
        gate.touch()
        revoked = task["note"].apply_async((str(gate),), countdown=30)
        until(lambda: "proj.note" in side.log(), WAIT_S)
        waits = task["flaky"].delay("y", 1, 30)
        until(lambda: waits.state == "RETRY", WAIT_S)
        revoked.revoke()
        answers += [value(started), repr(waits.result)]
        plain.close()
        return answers

    assert pair.both(script)[:4] == [["z", 2], 4, 6, 8]


def test_delayed_tasks_are_seen(pair: Beside, tmp_path: Path) -> None:
    """By ``inspect scheduled``, by the task itself when it runs, and by who listens to events."""

    def script(side: Side) -> Any:
        inspect = side.app.control.inspect(timeout=1)
        waits = side.task("add").apply_async((3, 4), countdown=60)
        found: list[Any] = []

        def scheduled() -> bool:
            for answers in (inspect.scheduled() or {}).values():
                found[:] = [one for one in answers if one["request"]["id"] == waits.id]
                if found:
                    return True
            return False

        until(scheduled, WAIT_S)
        request = found[0]["request"]
        seen = value(side.task("seen").apply_async(countdown=0.2))
        waits.revoke()
        return [
            sorted(found[0]),
            request["name"],
            list(request["args"]),
            request["kwargs"],
            "T" in found[0]["eta"],
            "T" in seen["eta"],
        ]

    assert pair.both(script)[1:] == ["proj.add", [3, 4], {}, True, True]


def test_a_delayed_task_that_is_revoked_is_reported(redis_url: str) -> None:
    with both(redis_url, task_send_sent_event=True) as apps, apps["bridge"][0].connection_for_read() as connection:
        app, _ = apps["bridge"]
        heard: dict[str, Any] = {}
        receiver = app.events.Receiver(connection, handlers={"*": lambda event: heard.update({event["type"]: event})})
        hearing = Thread(target=lambda: outcome(lambda: receiver.capture(limit=None, timeout=20, wakeup=False)))
        hearing.start()

        def both_are_reported() -> bool:
            """It may not listen yet."""
            app.send_task("any.task", countdown=60).revoke()
            return {"task-sent", "task-revoked"} <= heard.keys()

        try:
            until(both_are_reported, WAIT_S)
        finally:
            receiver.should_stop = True
            app.send_task("any.task", countdown=60)
            hearing.join(20)
        assert "T" in heard["task-sent"]["eta"]


def test_a_message_that_is_adopted_twice_runs_once(pair: Beside) -> None:
    """Two workers may have found no job at the same time, and one of them was quick."""
    side = pair.bridge
    task, queue = side.task("add"), side.project.queue
    result = task.delay(1, 1)
    assert value(result) == 2
    before = queue.get_job(result.id)
    request = Context(
        id=result.id,
        task=task.name,
        args=(1, 1),
        kwargs={},
        headers={},
        retries=0,
        delivery_info={"exchange": "", "routing_key": queue.name},
    )
    adopt(side.app.stratix_bridge, request, queue.name)
    after = queue.get_job(result.id)
    assert (after.state, after.finished_on) == ("completed", before.finished_on)


def test_a_project_with_a_time_zone_of_its_own(redis_url: str) -> None:
    """``date_done`` is the time of day there."""
    zone = {"timezone": "Asia/Tokyo", "enable_utc": False}
    with beside(redis_url, redis_url, bridged="own", **zone) as pair:

        def script(side: Side) -> Any:
            result = side.task("add").delay(1, 2)
            assert value(result) == 3
            done = result.date_done
            return [str(done.utcoffset()), abs((side.app.now() - done).total_seconds()) < WAIT_S]

        assert pair.both(script) == ["9:00:00", True]
