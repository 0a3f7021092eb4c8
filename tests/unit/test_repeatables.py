"""Repeatable jobs through the facade, on both stores."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, Job, RepeatableJobNotFound, create_app
from stratix_kombu.lifecycle.repeat import repeat
from stratix_kombu.model.record import Schedule
from tests.waiting import until


def finished(app: Application, name: str = "q") -> list[Job]:
    return app.queue.get_queue(name).get_jobs("completed")


def test_every_slot_is_one_job(app: Application) -> None:
    queue = app.queue.get_queue("q")
    queue.process(lambda job: job.data)
    made = queue.add_repeatable_job("tick", {"n": 1}, every=100, attempts=3)
    assert (made.name, made.data, made.every, made.runs, made.cron) == ("tick", {"n": 1}, 100, 0, None)
    assert made.next_run is not None
    until(lambda: len(finished(app)) >= 3)
    slots = [int(job.id.rpartition(":")[2]) for job in finished(app)]
    assert all(slot % 100 == 0 for slot in slots)
    assert len(set(slots)) == len(slots)
    assert finished(app)[0].opts["attempts"] == 3
    (kept,) = queue.get_repeatable_jobs()
    assert kept.runs >= 3


def test_the_limit_counts_runs_and_the_first_may_be_now(app: Application) -> None:
    queue = app.queue.get_queue("q")
    queue.process(lambda job: None)
    queue.add_repeatable_job("thrice", every=100, limit=3, immediately=True)
    queue.add_repeatable_job("once", cron="0 0 1 1 *", immediately=True, key="new-year")
    until(lambda: len(finished(app)) == 4)
    until(lambda: [one.next_run is None for one in queue.get_repeatable_jobs() if one.name == "thrice"] == [True])
    (year,) = [one for one in queue.get_repeatable_jobs() if one.key == "new-year"]
    assert year.next_run is not None
    assert (year.next_run.month, year.next_run.day, year.runs) == (1, 1, 1)
    queue.add_repeatable_job("witness", every=100)
    until(lambda: len([job for job in finished(app) if job.name == "witness"]) >= 3)  # more slots have come
    assert len([job for job in finished(app) if job.name != "witness"]) == 4


def test_deploying_again_makes_no_second_one(app: Application) -> None:
    queue = app.queue.get_queue("q")
    for version in range(3):
        queue.add_repeatable_job("report", {"version": version}, cron="30 3 * * *", timezone="Asia/Shanghai")
    (kept,) = queue.get_repeatable_jobs()
    assert (kept.data, kept.cron, kept.timezone) == ({"version": 2}, "30 3 * * *", "Asia/Shanghai")
    queue.add_repeatable_job("report", key="mine", cron="30 3 * * *")
    changed = queue.add_repeatable_job("report", key="mine", cron="0 4 * * *")
    assert changed.cron == "0 4 * * *"
    assert len(queue.get_repeatable_jobs()) == 2
    again = queue.upsert_job_scheduler("mine", {"pattern": "0 5 * * *"}, {"name": "other", "data": 5})
    assert (again.key, again.cron, again.name, again.data) == ("mine", "0 5 * * *", "other", 5)


def test_a_redeployed_one_goes_on_where_it_was(app: Application) -> None:
    queue = app.queue.get_queue("q")
    queue.process(lambda job: job.data)
    queue.add_repeatable_job("tick", 1, every=200, immediately=True)
    until(lambda: queue.get_repeatable_jobs()[0].runs >= 1)
    queue.add_repeatable_job("tick", 2, every=200, immediately=True)
    assert queue.get_repeatable_jobs()[0].runs >= 1
    until(lambda: 2 in [job.return_value for job in finished(app)])


def test_other_bounds_replace_it_and_its_runs_count(app: Application) -> None:
    queue = app.queue.get_queue("q")
    queue.process(lambda job: job.data)
    queue.add_repeatable_job("tick", 1, every=100, limit=2)
    until(lambda: [(one.runs, one.next_run) for one in queue.get_repeatable_jobs()] == [(2, None)])
    far = datetime.now(timezone.utc) + timedelta(days=900)
    made = queue.add_repeatable_job("tick", 2, every=100, limit=4, end_date=far)
    assert made.next_run is not None
    until(lambda: [(one.runs, one.next_run) for one in queue.get_repeatable_jobs()] == [(4, None)])
    until(lambda: sorted(job.return_value for job in finished(app)) == [1, 1, 2, 2])
    less = queue.add_repeatable_job("tick", every=100, limit=3)
    assert (less.runs, less.limit, less.next_run) == (4, 3, None)
    daily = [
        queue.add_repeatable_job("daily", cron="30 3 * * *", **bounds)
        for bounds in ({}, {"limit": 5}, {"limit": 6, "startDate": far}, {"end_date": far})
    ]
    assert len({one.key for one in daily}) == 1
    assert daily[2].next_run is not None
    assert daily[2].next_run >= far
    assert daily[3].next_run == daily[0].next_run
    queue.add_repeatable_job("daily", cron="30 3 * * *", tz="Asia/Shanghai")
    assert len(queue.get_repeatable_jobs()) == 3


def test_one_of_the_first_release_with_bounds_goes_on(app: Application) -> None:
    """Its key was made of its bounds too."""
    queue, store = app.queue.get_queue("q"), app.queue.store
    made = queue.add_repeatable_job("tick", every=3_600_000, limit=5)
    (kept,) = store.schedules.all()
    older = "q:" + hashlib.sha1(f"tick\n{kept.rule}".encode()).hexdigest()[:16]
    store.schedules.remove(kept.key)
    store.schedules.put(replace(kept, key=older, runs=3))
    again = queue.add_repeatable_job("tick", every=3_600_000, limit=5)
    assert (again.key, again.runs) == (made.key, 3)
    assert len(store.schedules.all()) == 1


def test_runs_keep_to_limits_and_deduplication(app: Application) -> None:
    queue = app.queue.get_queue("q")
    limited = queue.add_repeatable_job("limited", every=100, key="l", limiter={"max": 1, "duration": 600_000})
    queue.add_repeatable_job("bucket", every=3_600_000, limiter={"max": 5, "refill_rate": 0.5, "initial_tokens": 1})
    queue.process(lambda job: None)
    assert limited.next_run is not None
    until(lambda: queue.get_repeatable_jobs()[1].runs + queue.get_repeatable_jobs()[0].runs >= 3)
    until(lambda: len(finished(app)) == 1)
    queue.pause_repeatable_job("l")
    other = app.queue.create_queue("other")
    once = {"id": "sync", "ttl": 600_000, "extend": True}
    made = other.add_repeatable_job("sync", every=100, key="s", deduplication=once)
    assert made.next_run is not None
    until(lambda: other.get_repeatable_jobs()[0].runs >= 3)
    assert sum(other.get_job_counts().values()) == 1
    first = other.get_jobs("waiting")[0]
    assert other.run_repeatable_job("s").id == first.id


def test_the_calendar_has_an_end_and_a_beginning(app: Application) -> None:
    queue = app.queue.get_queue("q")
    last, first = datetime.max.replace(tzinfo=timezone.utc), datetime.min.replace(tzinfo=timezone.utc)
    ever = queue.add_repeatable_job("ever", every=3_600_000, start_date=first, end_date=last)
    old = queue.add_repeatable_job(
        "old", every=timedelta(minutes=10), start_date=datetime(1960, 1, 1, 0, 3, tzinfo=timezone.utc)
    )
    assert ever.end_date is not None
    assert (ever.end_date.year, ever.start_date) == (9999, first)
    assert old.start_date == datetime(1960, 1, 1, 0, 3, tzinfo=timezone.utc)
    assert old.next_run is not None
    assert (old.next_run.minute % 10, old.next_run > datetime.now(timezone.utc)) == (3, True)
    cron = queue.add_repeatable_job("cron", cron="0 0 1 1 *", start_date=-315_619_200_000, end_date=4_102_444_800_000)
    assert (cron.start_date, cron.end_date) == (
        datetime(1960, 1, 1, tzinfo=timezone.utc),
        datetime(2100, 1, 1, tzinfo=timezone.utc),
    )
    assert len(queue.get_repeatable_jobs()) == len(app.queue.get_repeatable_jobs()) == 3


@pytest.mark.parametrize("when", [4_102_444_800_000, datetime(2100, 1, 1, tzinfo=timezone.utc)])
def test_an_instant_far_ahead_or_past(app: Application, when: Any) -> None:
    queue = app.queue.get_queue("q")
    job = queue.add("x", run_at=when)
    last = queue.add("x", run_at=datetime.max.replace(tzinfo=timezone.utc))
    past = queue.add("x", run_at=datetime(1960, 1, 1, tzinfo=timezone.utc))
    assert [one.get_state() for one in (job, last, past)] == ["delayed", "delayed", "waiting"]
    assert [one.id for one in queue.get_jobs("delayed")] == [job.id, last.id]
    assert app.queue.store.queries.get([job.id])[0].due_ms == 4_102_444_800_000  # type: ignore[union-attr]


def test_one_that_cannot_be_read_hides_no_other(app: Application) -> None:
    queue = app.queue.get_queue("q")
    rule = '{"end_ms":253402300800000,"every_ms":3600000}'  # as 0.1 kept datetime.max
    app.queue.store.schedules.put(Schedule(key="q:bad", queue="q", name="n", rule=rule, template="{}", next_ms=9**15))
    queue.add_repeatable_job("good", every=3_600_000)
    assert [one.name for one in queue.get_repeatable_jobs()] == ["good"]
    assert [one.name for one in app.queue.get_repeatable_jobs()] == ["good"]
    assert queue.add_repeatable_job("n", key="bad", every=3_600_000).key == "bad"


def test_removing_by_name_and_times_or_by_key(app: Application) -> None:
    queue = app.queue.get_queue("q")
    queue.add_repeatable_job("backup", {"type": "full"}, cron="30 3 * * *")
    queue.add_repeatable_job("backup", {"type": "part"}, every=timedelta(hours=1))
    queue.add_repeatable_job("other", key="k", every=3_600_000)
    assert queue.remove_repeatable_job({"name": "backup", "cron": "30 3 * * *"})
    assert not queue.remove_repeatable_job(name="backup", cron="30 3 * * *")
    assert [one.every for one in queue.get_repeatable_jobs() if one.name == "backup"] == [3_600_000]
    assert queue.remove_repeatable_job(name="backup", every=3_600_000)
    assert queue.remove_repeatable_job(key="k")
    assert queue.get_repeatable_jobs() == []


def test_one_whose_key_is_empty_can_be_removed(app: Application) -> None:
    """An earlier release accepted it."""
    queue, schedules = app.queue.get_queue("q"), app.queue.store.schedules
    queue.add_repeatable_job("n", every=3_600_000)
    (kept,) = schedules.all("q")
    schedules.put(replace(kept, key="q:"))
    empty, named = sorted(queue.get_repeatable_jobs(), key=lambda one: len(one.key))
    assert queue.remove_repeatable_job(empty)
    assert not queue.remove_repeatable_job(key="")
    assert queue.get_repeatable_jobs() == [named]


def test_pause_resume_and_run_now(app: Application) -> None:
    queue = app.queue.get_queue("q")
    queue.process(lambda job: job.data)
    queue.add_repeatable_job("tick", {"n": 1}, key="k", every=100)
    queue.pause_repeatable_job("k")
    assert queue.get_repeatable_jobs()[0].paused
    runs = queue.get_repeatable_jobs()[0].runs
    job = queue.run_repeatable_job("k")
    assert job.wait_until_finished(timeout=10) == {"n": 1}
    assert queue.get_repeatable_jobs()[0].runs == runs
    queue.resume_repeatable_job("k")
    until(lambda: queue.get_repeatable_jobs()[0].runs >= runs + 2)
    for step in (queue.pause_repeatable_job, queue.resume_repeatable_job, queue.run_repeatable_job):
        with pytest.raises(RepeatableJobNotFound, match="no repeatable job with the key 'nobody'"):
            step("nobody")


def test_missed_slots_are_one_late_run(settings: dict[str, Any]) -> None:
    hour = 3_600_000
    with create_app({**settings, "worker": {"clock": False}}) as app:
        app.start()
        queue = app.queue.get_queue("q")
        queue.add_repeatable_job("hourly", key="k", every=hour)
        (schedule,) = app.queue.store.schedules.all()
        missed = schedule.next_ms - 5 * hour
        app.queue.store.schedules.set_paused(schedule.key, False, missed)
        repeat(app.queue.engine)
        (kept,) = queue.get_repeatable_jobs()
        assert kept.next_run is not None
        assert (kept.runs, kept.next_run > datetime.now(timezone.utc)) == (1, True)
        assert [job.id for job in queue.get_jobs("waiting")] == [f"repeat:q:k:{missed}"]
        assert repeat(app.queue.engine) is not None
        assert len(queue.get_jobs("waiting")) == 1


@pytest.mark.parametrize("times", [{"every": 5 * 3_600_000}, {"cron": "30 3 1 1 *"}])
def test_a_first_run_that_is_now_is_kept_until_it_was(settings: dict[str, Any], times: dict[str, Any]) -> None:
    """Processes that register it before a clock has run, each with bounds of its own."""
    with create_app({**settings, "worker": {"clock": False}}) as app:
        app.start()
        queue, now = app.queue.get_queue("q"), datetime.now(timezone.utc).replace(microsecond=0)
        ends = [now + timedelta(days=900, seconds=number) for number in range(3)]
        first = queue.add_repeatable_job("n", **times, immediately=True, end_date=ends[0])
        assert first.next_run is not None
        for end in ends[1:]:
            again = queue.add_repeatable_job("n", **times, immediately=True, end_date=end, limit=5)
            assert (again.next_run, again.end_date) == (first.next_run, end)
        repeat(app.queue.engine)
        assert [job.name for job in queue.get_jobs("waiting")] == ["n"]
        (ran,) = queue.get_repeatable_jobs()
        assert (ran.runs, queue.add_repeatable_job("n", **times, immediately=True).next_run) == (1, ran.next_run)
        assert ran.next_run is not None
        assert ran.next_run > now + timedelta(seconds=5)


def test_a_first_run_is_within_the_new_dates(settings: dict[str, Any]) -> None:
    with create_app({**settings, "worker": {"clock": False}}) as app:
        queue, now = app.queue.get_queue("q"), datetime.now(timezone.utc).replace(microsecond=0)
        queue.add_repeatable_job("n", cron="30 3 1 1 *", immediately=True)
        late = queue.add_repeatable_job("n", cron="30 3 1 1 *", immediately=True, start_date=now + timedelta(days=1))
        assert late.next_run == late.start_date
        back = queue.add_repeatable_job("n", cron="30 3 1 1 *", immediately=True, limit=2)
        assert back.next_run is not None
        assert back.next_run < now + timedelta(minutes=1)


def test_an_ended_one_has_no_first_run_left(settings: dict[str, Any]) -> None:
    with create_app({**settings, "worker": {"clock": False}}) as app:
        queue, past = app.queue.get_queue("q"), datetime(2020, 1, 1, tzinfo=timezone.utc)
        queue.add_repeatable_job("n", every=3_600_000, immediately=True)
        assert queue.add_repeatable_job("n", every=3_600_000, immediately=True, end_date=past).next_run is None


def test_a_record_that_cannot_be_used_holds_up_no_other(app: Application) -> None:
    faults: list[str] = []
    queue = app.queue.get_queue("q")
    queue.on("error", lambda error: faults.append(str(error)))
    rule = '{"cron":"* * * * *","timezone":"Mars/X"}'
    bad = Schedule(key="q:bad", queue="q", name="n", rule=rule, template="{}", next_ms=1)
    app.queue.store.schedules.put(bad)
    queue.process(lambda job: None)
    queue.add_repeatable_job("good", every=100)
    until(lambda: len(finished(app)) >= 1)
    until(lambda: any("Mars" in fault for fault in faults))


def test_a_window(app: Application) -> None:
    queue = app.queue.get_queue("q")
    start = datetime.now(timezone.utc) + timedelta(days=3)
    made = queue.add_repeatable_job(
        "window", cron="0 * 9-17 * * 1-5", startDate=start, endDate=start + timedelta(days=30), tz="Europe/Berlin"
    )
    assert made.next_run is not None
    assert made.next_run >= start
    assert made.start_date is not None
    assert abs(made.start_date - start) < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either 'cron' or 'every'"),
        ({"cron": "0 0 30 2 *"}, r"add_repeatable_job\('n'\) on queue 'q': cron '0 0 30 2 \*' never fires"),
        ({"every": 10}, "at least 100 ms"),
        ({"evry": 10}, "unknown option 'evry'.*every"),
        ({"every": 1000, "delay": 5}, "'delay' has no meaning for a repeatable job"),
        ({"every": 1000, "timezone": "UTC"}, "belongs to 'cron'"),
        ({"cron": 5}, "must be a text"),
        ({"every": 1000, "immediately": "yes"}, "must be True or False"),
        ({"every": 1000, "start_date": datetime(2030, 1, 1)}, "without a time zone"),
        ({"every": 1000, "limit": 0}, "from 1 to"),
        ({"every": 1000, "start_date": datetime.max.replace(tzinfo=timezone.utc)}, "it would never run"),
        ({"every": 1000, "start_date": timedelta(days=1)}, "'start_date' is an instant, not a duration"),
        ({"every": 1000, "endDate": timedelta(days=1)}, "'end_date' is an instant, not a duration"),
        ({"cron": "0 0 * * *", "end_date": datetime(2030, 1, 1)}, "without a time zone"),
        ({"cron": "0 0 * * *", "start_date": 4_102_448_400_000, "end_date": 4_102_448_400_001}, "it would never run"),
        ({"every": 1000, "end_date": 1e30}, "'end_date' must be in the years 1 to 9999"),
        ({"every": 1000, "end_date": float("nan")}, "must be an aware datetime, or milliseconds since 1970"),
        ({"cron": "0 0 1 1-1/0 *"}, "the step of '1-1/0' in the field month is 0"),
        ({"every": 1000, "limiter": {"max": 0}}, "limiter"),
        ({"every": 1000, "deduplication": {"ttl": 5}}, "cannot be a job id"),
        ({"every": 1000, "key": "with space"}, "cannot be a job id"),
        ({"every": 1000, "key": ""}, r"add_repeatable_job\('n'\) on queue 'q': 'key' is empty"),
    ],
)
def test_what_is_refused_leaves_nothing(app: Application, options: dict[str, Any], words: str) -> None:
    queue = app.queue.get_queue("q")
    with pytest.raises(ConfigurationError, match=words):
        queue.add_repeatable_job("n", **options)
    assert queue.get_repeatable_jobs() == []
    with pytest.raises(ConfigurationError, match="select it by 'key'"):
        queue.remove_repeatable_job(cron="* * * * *")


def test_how_the_last_runs_ended(app: Application) -> None:
    queue = app.queue.get_queue("q")

    def handle(job: Job) -> None:
        if job.repeat_key == "bad":
            raise ValueError("broken")

    queue.process(handle)
    good = queue.add_repeatable_job("n", key="good", cron="0 0 1 1 *", immediately=True)
    queue.add_repeatable_job("n", key="bad", cron="0 0 1 1 *", remove_on_fail=True)
    assert queue.get_schedule_runs("bad") == []
    by_hand = [queue.run_repeatable_job("bad").id for _ in range(2)]
    until(lambda: [run.state for run in queue.get_schedule_runs("bad")] == ["failed", "failed"])
    newest, oldest = queue.get_schedule_runs("bad")
    assert [newest.job_id, oldest.job_id] == by_hand[::-1]
    assert (newest.failed_reason, newest.was_cancelled) == ("ValueError: broken", False)
    assert newest.added_on <= (newest.finished_on or 0)
    assert [queue.get_job(one) for one in by_hand] == [None, None]
    assert asyncio.run(queue.aio.get_schedule_runs("bad", limit=1)) == [newest]
    until(lambda: [run.state for run in queue.get_schedule_runs(good.key)] == ["completed"])
    (run,) = queue.get_schedule_runs("good")
    job = queue.get_job(run.job_id)
    assert job is not None
    assert (run.finished_on, run.failed_reason) == (job.finished_on, None)
    job.remove()
    assert [run.state for run in queue.get_schedule_runs("good")] == [None]
    with pytest.raises(RepeatableJobNotFound):
        queue.get_schedule_runs("nobody")
    with pytest.raises(ConfigurationError, match="get_schedule_runs: 'limit' must be a whole number from 1 to 10"):
        queue.get_schedule_runs("good", 11)
