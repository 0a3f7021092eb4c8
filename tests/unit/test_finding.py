"""``queue.find_jobs``: jobs that fit, page by page."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, Queue
from stratix_kombu.model.finding import Pattern, common_reason, together
from tests.waiting import until


@pytest.fixture
def queue(app: Application) -> Queue:
    queue = app.queue.create_queue("q")

    @queue.process
    def handle(job: Any) -> None:
        raise TimeoutError(f"no answer from host {job.data}")

    for n in range(7):
        queue.add("mail.send" if n % 2 else "mail.drop", n, job_id=f"{'odd' if n % 2 else 'even'}-{n}")
    until(lambda: queue.get_job_counts()["failed"] == 7)
    return queue


def test_jobs_are_found_page_by_page(queue: Queue) -> None:
    page = queue.find_jobs("failed", name="mail.s*", limit=2)
    assert [job.data for job in page.jobs] == [5, 3]
    page = queue.find_jobs("failed", page.cursor, 2, name="mail.s*")
    assert ([job.data for job in page.jobs], page.looked) == ([1], 3)
    assert page.cursor == ""
    assert queue.find_jobs("failed").looked == 7


def test_by_id_reason_and_time(queue: Queue) -> None:
    assert [job.id for job in queue.find_jobs("failed", id="odd").jobs] == ["odd-5", "odd-3", "odd-1"]
    assert [job.data for job in queue.find_jobs("failed", reason="TimeoutError: *host 4").jobs] == [4]
    assert queue.find_jobs("failed", reason="ValueError").jobs == []
    now = datetime.now(timezone.utc)
    assert len(queue.find_jobs("failed", since=now - timedelta(hours=1), until=now + timedelta(hours=1)).jobs) == 7
    assert queue.find_jobs("failed", until=now - timedelta(hours=1)).jobs == []
    finished = queue.find_jobs("failed").jobs[0].finished_on
    assert finished is not None
    assert queue.find_jobs("failed", since=finished + 1).jobs == []


def test_by_worker(queue: Queue) -> None:
    (worker,) = queue.get_workers()
    assert len(queue.find_jobs("failed", worker=worker.id).jobs) == 7
    assert queue.find_jobs("failed", worker="another").jobs == []


def test_for_asyncio(queue: Queue) -> None:
    page = asyncio.run(queue.aio.find_jobs("failed", limit=1, name="*drop"))
    assert [job.data for job in page.jobs] == [6]


def test_what_is_paused_is_waiting(app: Application) -> None:
    queue = app.queue.create_queue("still")
    queue.pause()
    job = queue.add("n")
    assert [one.id for one in queue.find_jobs("paused").jobs] == [job.id]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"nam": "x"}, "find_jobs: unknown option 'nam'; did you mean 'name'?"),
        ({"name": 5}, "find_jobs: 'name' must be a text"),
        ({"since": "yesterday"}, "find_jobs: 'since' must be an aware datetime"),
        ({"limit": 0}, "find_jobs: 'limit' must be a whole number from 1 to 1000"),
        ({"limit": 1001}, "find_jobs: 'limit' must be a whole number from 1 to 1000"),
        ({"cursor": "nonsense"}, "'nonsense' is not a cursor"),
        ({"cursor": None}, "find_jobs: 'cursor' must be a text"),
    ],
)
def test_what_cannot_be_looked_for(app: Application, arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        app.queue.get_queue("q").find_jobs("failed", **arguments)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*a*b", "xaxbxab", True),
        ("*ab", "abab", True),
        ("ab*", "cab", False),
        ("?", "", False),
        ("a**b", "ab", True),
        ("[a]", "a", False),
        ("*" + "a*" * 50 + "b", "a" * 4_000, False),
    ],
)
def test_patterns(pattern: str, text: str, fits: bool) -> None:
    assert Pattern(pattern).matches(text) is fits


def test_failures_are_grouped_by_their_reasons(queue: Queue) -> None:
    page = queue.get_failure_reasons()
    (group,) = page.groups
    assert (group.reason, group.error, group.count) == ("TimeoutError: no answer from host *", "TimeoutError", 7)
    newest = queue.find_jobs("failed", limit=1).jobs[0]
    assert (group.newest_job_id, group.newest_on) == (newest.id, newest.finished_on)
    assert (page.cursor, page.looked) == ("", 7)
    assert len(queue.find_jobs("failed", reason=group.reason).jobs) == 7
    first = queue.get_failure_reasons(limit=3)
    rest = asyncio.run(queue.aio.get_failure_reasons(first.cursor))
    assert [one.count for one in together([*first.groups, *rest.groups])] == [7]
    assert json.loads(json.dumps(group.to_dict()))["count"] == 7


def test_dead_letters_are_grouped_by_their_reasons(app: Application) -> None:
    queue, dead = app.queue.create_queue("q", dead_letter="dead"), app.queue.get_queue("dead")

    @queue.process
    def handle(job: Any) -> None:
        raise (KeyError if job.data else ValueError)(f"row {job.data}")

    for n in (0, 1, 2):
        queue.add("n", n)
    until(lambda: dead.get_job_counts()["waiting"] == 3)
    groups = asyncio.run(dead.aio.get_letter_reasons()).groups
    assert [(one.count, one.error) for one in groups] == [(2, "KeyError"), (1, "ValueError")]
    assert [job.id for job in dead.find_jobs("waiting", reason=groups[1].reason).jobs] == [groups[1].newest_job_id]
    assert dead.get_failure_reasons().groups == []


@pytest.mark.parametrize(
    ("reason", "common"),
    [
        ("order 17 of a1b2-c3 is 5.5% late", "order * of *-* is *.*% late"),
        ("no digits: ünï", "no digits: ünï"),
        ("", ""),
    ],
)
def test_what_reasons_have_in_common(reason: str, common: str) -> None:
    assert common_reason(reason) == common
    assert Pattern(f"*{common}*").matches(reason)
