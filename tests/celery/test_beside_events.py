"""What a consumer of events sees, as exporters of metrics do, beside stock Celery."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from threading import Thread
from typing import Any

import pytest

from tests.celery.beside import WAIT_S, Beside, Side, beside, outcome
from tests.waiting import until


@pytest.fixture(scope="module")
def pair(redis_url: str) -> Iterator[Beside]:
    with beside(redis_url, redis_url, worker_send_task_events=True, task_send_sent_event=True) as both:
        yield both


@contextmanager
def listening(side: Side) -> Iterator[dict[str, list[Any]]]:
    """Events by the id of their task."""
    heard: dict[str, list[Any]] = defaultdict(list)
    own = side.new_id()

    def hear(event: Any) -> None:
        if "uuid" in event:
            heard[event["uuid"]].append(event)

    with side.app.connection_for_read() as connection:
        receiver = side.app.events.Receiver(connection, handlers={"*": hear})
        hearing = Thread(target=lambda: outcome(lambda: receiver.capture(limit=None, timeout=WAIT_S, wakeup=False)))
        hearing.start()

        def hears() -> bool:
            """It may not listen yet."""
            side.task("same").apply_async(task_id=own)
            return own in heard

        try:
            until(hears, WAIT_S)
            yield heard
        finally:
            receiver.should_stop = True
            side.task("same").delay()  # it looks only when it gets something
            hearing.join(WAIT_S)


COURSE = {
    "done": ["task-sent", "task-received", "task-started", "task-succeeded"],
    "failed": ["task-sent", "task-received", "task-started", "task-failed"],
    "tried again": [
        *("task-sent", "task-received", "task-started", "task-retried"),
        *("task-sent at", "task-received at", "task-started", "task-succeeded"),
    ],
    "delayed": ["task-sent at", "task-received at", "task-started", "task-succeeded"],
}
"""The events of each task; with *at*: and when it was to run."""


def test_the_course_of_tasks(pair: Beside) -> None:
    def script(side: Side) -> Any:
        with listening(side) as heard:
            results = {
                "done": side.task("add").delay(1, 2),
                "failed": side.task("boom").delay(),
                "tried again": side.task("flaky").delay("x", 1),
                "delayed": side.task("add").apply_async((3, 4), countdown=0.3),
            }

            def events_heard(name: str) -> list[str]:
                """One may be emitted before another that came first: they are of several processes and threads."""
                return sorted(event["type"] + " at" * bool(event.get("eta")) for event in heard[results[name].id])

            def all_is_reported() -> bool:
                return all(events_heard(name) == sorted(course) for name, course in COURSE.items())

            with suppress(AssertionError):
                until(all_is_reported, WAIT_S)
            events = {event["type"]: event for event in heard[results["delayed"].id]}
            due = datetime.fromisoformat(events["task-received"]["eta"]).timestamp()
            return [{name: events_heard(name) for name in results}, events["task-started"]["timestamp"] >= due - 0.05]

    assert pair.both(script) == [{name: sorted(course) for name, course in COURSE.items()}, True]
