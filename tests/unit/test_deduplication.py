"""At most one job under an id: simple, throttled, debounced."""

from __future__ import annotations

from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError
from tests.waiting import until


def test_while_such_a_job_is_unfinished_adding_returns_it(app: Application) -> None:
    queue = app.queue.get_queue("q")
    heard: list[str] = []
    queue.on("duplicated", lambda job: heard.append(job.id))
    once = {"id": "user:5"}
    first = queue.add("sync", {"n": 1}, deduplication=once)
    again = queue.add("sync", {"n": 2}, deduplication=once)
    assert (again.id, again.data) == (first.id, {"n": 1})
    many = queue.add_bulk([{"name": "sync", "opts": {"deduplication": once}}, {"name": "other"}])
    assert [many[0].id == first.id, many[1].name] == [True, "other"]
    until(lambda: heard == [first.id] * 2)
    queue.process(lambda job: None)
    first.wait_until_finished(timeout=10)
    assert queue.add("sync", deduplication=once).id != first.id


def test_throttling_and_debouncing(app: Application) -> None:
    queue = app.queue.get_queue("q")
    throttle = {"id": "t", "ttl": 60_000}
    first = queue.add("call", deduplication=throttle)
    assert queue.add("call", deduplication=throttle).id == first.id
    last = {"id": "d", "replace": True}
    typed = [queue.add("save", {"text": text}, delay=60_000, deduplication=last) for text in ("a", "ab", "abc")]
    assert [job.data for job in queue.get_jobs("delayed")] == [{"text": "abc"}]
    assert queue.get_job(typed[0].id) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("x", "must be a mapping with 'id'"),
        ({}, "cannot be a job id"),
        ({"id": "x", "extend": True}, "needs 'ttl'"),
        ({"id": "x", "replace": 1}, "True or False"),
        ({"id": "x", "tll": 5}, "unknown option 'tll'"),
    ],
)
def test_what_is_refused(app: Application, given: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        app.queue.get_queue("q").add("n", deduplication=given)
