"""Dead letters and their way back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from stratix_kombu import Application, ConfigurationError, Job, Queue, create_app
from stratix_kombu.stores.contract import PAGE
from stratix_kombu.types import BulkJob
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


def fail(job: Job) -> None:
    raise OSError(f"cannot send {job.data}")


def failing(app: Application, name: str, **options: Any) -> tuple[Queue, Queue]:
    """A queue whose jobs fail, and the one that gets their letters."""
    queue = app.queue.create_queue(name, **options)
    queue.process(fail)
    return queue, app.queue.get_queue("dead")


def test_queues_for_each_others_letters_are_no_loop(app: Application) -> None:
    first, second = failing(app, "mail", dead_letter="back")[0], failing(app, "back", dead_letter="mail")[0]
    first.add("welcome", {"n": 1})
    second.add("other")
    until(lambda: [one.get_job_counts()["failed"] for one in (first, second)] == [2, 2])
    assert sorted(job.name for job in first.get_jobs("failed")) == ["other", "welcome"]
    (letter,) = (job for job in second.get_jobs("failed") if job.name == "welcome")
    assert (letter.data["queue"], letter.data["data"]) == ("mail", {"n": 1})
    assert "cannot send {'id':" in str(letter.failed_reason)


def test_a_queue_does_not_get_its_own_letters() -> None:
    words = "queue 'mail': 'dead_letter' must be another queue, such as 'mail-dead'"
    with create_app({"driver": "memory"}) as app, pytest.raises(ConfigurationError, match=words):
        app.queue.create_queue("mail", dead_letter="mail")
    settings: Any = {"driver": "memory", "queues": {"mail": {"dead_letter": "mail"}}}
    with create_app(settings) as app, pytest.raises(ConfigurationError, match=words):
        app.queue.get_queue("mail")


def test_each_failure_of_one_id_leaves_a_letter(app: Application) -> None:
    queue, dead = failing(app, "mail", dead_letter="dead")
    for number in range(3):
        queue.add("sync", number, job_id="sync", remove_on_fail=True)
        until(lambda number=number: dead.get_job_counts()["waiting"] == number + 1)  # type: ignore[misc]
    assert [letter["data"] for letter in dead.get_dead_letters()] == [0, 1, 2]
    assert dead.redrive() == 3
    until(lambda: [letter["data"] for letter in dead.get_dead_letters()] == [0, 1, 2])


def test_runs_of_a_repeatable_job_leave_letters(app: Application) -> None:
    queue, dead = failing(app, "mail", dead_letter="dead")
    queue.add_repeatable_job("news", "weekly", every=3_600_000, key="k")
    for number in range(2):
        run = queue.run_repeatable_job("k")
        until(lambda number=number: dead.get_job_counts()["waiting"] == number + 1)  # type: ignore[misc]
        assert dead.get_dead_letters()[-1]["id"] == run.id
    queue.add_repeatable_job("news", "now", every=3_600_000, key="slot", immediately=True)
    until(lambda: dead.get_job_counts()["waiting"] == 3)
    assert [letter["data"] for letter in dead.get_dead_letters()] == ["weekly", "weekly", "now"]


def test_only_the_workers_program_knows_of_the_letters(settings: dict[str, Any]) -> None:
    with create_app(settings) as producer:
        producer.start()
        producer.queue.get_queue("mail").add("welcome", "a", priority=3)
        with create_app(settings) as app:
            app.start()
            _, dead = failing(app, "mail", dead_letter="dead")
            until(lambda: dead.get_job_counts()["waiting"] == 1)


@pytest.mark.parametrize("length", [3, 200])
def test_a_job_comes_back_as_it_was(app: Application, length: int) -> None:
    queue, dead = failing(app, "mail", dead_letter="dead", concurrency=1)
    given = {
        "priority": 4,
        "attempts": 2,
        "backoff": 1,
        "timeout": 5_000,
        "group": "g",
        "remove_on_fail": {"count": 7},
        "remove_on_complete": {"age": 60_000},
        "limiter": {"max": 100, "duration": 5_000},
    }
    job = queue.add("welcome", {"n": 1}, job_id="i" * length, **given)
    until(lambda: dead.get_job_counts()["waiting"] == 1)
    (letter,) = dead.get_jobs("waiting")
    assert dead.get_job(letter.id) is not None
    assert dead.get_dead_letters()[0]["id"] == job.id
    queue.pause()
    assert dead.redrive() == 1
    again = next(one for one in queue.get_jobs("waiting"))
    assert queue.get_job(again.id) is not None
    assert (again.name, again.data, again.opts) == ("welcome", {"n": 1}, job.opts)
    queue.resume()
    until(lambda: dead.get_job_counts()["waiting"] == 1)
    assert dead.get_dead_letters()[0]["again"] == letter.data["again"]


def test_letters_are_redriven_once_by_however_many(app: Application) -> None:
    dead, mail = app.queue.get_queue("dead"), app.queue.get_queue("mail")
    dead.add_bulk([cast("BulkJob", letter(number, number)) for number in range(40)])
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: dead.redrive(), range(4))) == 40
    assert sorted(job.data for job in mail.get_jobs("waiting")) == list(range(40))
    assert dead.get_jobs() == []


def test_letters_that_are_handled_are_kept_as_their_queue_says(app: Application) -> None:
    queue, _ = failing(app, "mail", dead_letter="graveyard")
    graveyard = app.queue.create_queue("graveyard", default_job_options={"remove_on_complete": 2})
    seen: list[Any] = []
    graveyard.process(lambda job: seen.append(job.data["data"]))
    queue.add_bulk([{"name": "n", "data": number} for number in range(5)])
    until(lambda: sorted(seen) == [0, 1, 2, 3, 4] and graveyard.get_job_counts()["active"] == 0)
    assert graveyard.get_job_counts()["completed"] == 2


def test_many_letters_go_page_by_page(app: Application) -> None:
    dead = app.queue.create_queue("dead", max_payload_bytes=2**22)
    letters = [letter(number, number) for number in range(PAGE + 20)]
    dead.add_bulk([*letters, {"name": "no letter"}, letter("large", "x" * 2**21)])
    heard: list[int] = []
    half = PAGE // 2 + 10
    assert dead.redrive(filter=lambda one: one["id"] != "large" and one["data"] % 2, on_progress=heard.append) == half
    assert heard == [PAGE // 2, half]
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
