"""Dead letters and their way back."""

from __future__ import annotations

import threading

import pytest

from stratix_kombu import Application, ConfigurationError, Job
from stratix_kombu.stores.contract import PAGE
from tests.waiting import until


def test_what_has_failed_is_kept_apart_and_sent_back(app: Application) -> None:
    queue = app.queue.create_queue("mail", concurrency=5, dead_letter="dead")
    dead = app.queue.get_queue("dead")
    broken = threading.Event()
    broken.set()

    def send(job: Job) -> str:
        if broken.is_set() and job.data["to"] != "ok":
            raise OSError(f"cannot reach {job.data['to']}")
        return f"sent to {job.data['to']}"

    queue.process(send)
    for to in ("ok", "a", "b", "c"):
        queue.add("welcome", {"to": to}, attempts=2, backoff=1)
    until(lambda: dead.get_job_counts()["waiting"] == 3)
    letter = dead.get_jobs("waiting")[0]
    assert letter.name == "welcome"
    assert letter.data["reason"].startswith("OSError: cannot reach")
    assert (letter.data["queue"], letter.data["attempts"], letter.data["max_attempts"]) == ("mail", 2, 2)
    dead.add("no letter", {"x": 1})
    broken.clear()
    assert dead.redrive(filter=lambda one: one["data"]["to"] == "b") == 1
    assert dead.redrive(limit=1) == 1
    assert dead.redrive() == 1
    until(lambda: queue.get_job_counts()["completed"] == 4)
    again = [job for job in queue.get_jobs("completed") if job.id.endswith(".again")]
    assert sorted(job.return_value for job in again) == ["sent to a", "sent to b", "sent to c"]
    assert again[0].opts["attempts"] == 2
    assert [job.name for job in dead.get_jobs()] == ["no letter"]


def test_many_letters_go_page_by_page(app: Application) -> None:
    dead = app.queue.create_queue("dead", max_payload_bytes=2**22)
    letters = [letter(number, number) for number in range(PAGE + 20)]
    dead.add_bulk([*letters, {"name": "no letter"}, letter("large", "x" * 2**21)])
    told: list[int] = []
    half = PAGE // 2 + 10
    assert dead.redrive(filter=lambda one: one["id"] != "large" and one["data"] % 2, on_progress=told.append) == half
    assert told == [PAGE // 2, half]
    assert dead.redrive(limit=half) == half
    assert [job.name for job in dead.get_jobs("waiting")] == ["no letter", "n"]
    assert dead.redrive() == 1
    assert app.queue.get_queue("mail").get_jobs("waiting")[-1].data == "x" * 2**21


def letter(job_id: object, data: object) -> dict[str, object]:
    about = {"id": str(job_id), "queue": "mail", "name": "n", "data": data, "options": "", "reason": "OSError"}
    return {"name": "n", "data": {**about, "attempts": 1, "max_attempts": 1}}


def test_names_are_checked(app: Application) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a queue"):
        app.queue.create_queue("mail", dead_letter="no such name!")


def test_letters_of_jobs_that_fail_again_at_once_wait_for_the_next_time(app: Application) -> None:
    """However many there are, each is sent back once."""
    dead = app.queue.get_queue("dead")
    queue = app.queue.create_queue("mail", concurrency=10, dead_letter="dead")

    @queue.process()
    def fail(job: Job) -> None:
        raise OSError("down")

    queue.add_bulk([{"name": "n", "data": number} for number in range(1_100)])
    until(lambda: dead.get_job_counts()["waiting"] == 1_100, 30)
    assert dead.redrive() == 1_100
    until(lambda: dead.get_job_counts()["waiting"] == 1_100, 30)
