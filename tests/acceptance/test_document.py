"""The document, heading by heading, in the forms it has: mappings at the end, camelCase, asynchronous functions. First
its chapters on flows, repeatable jobs and schedules; ``test_document_workers`` and ``test_document_patterns`` go on."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from stratix_kombu import Application, JobFailed
from tests.acceptance.document import heading
from tests.waiting import until

data = {"some": "data"}


@heading("Job flows", "Basic dependencies")
def test_basic_dependencies(app: Application) -> None:
    queue, order = app.queue.create_queue("flows", {"concurrency": 5}), list[str]()

    @queue.process
    async def run(job: Any) -> None:
        order.append(job.name)

    parent_job = queue.add("parent-task", {"step": "first"}, {"delay": 50})
    child_job = queue.add("child-task", {"step": "second"}, {"dependencies": [parent_job.id]})
    assert child_job.get_state() == "blocked"
    app.start()
    child_job.wait_until_finished(timeout=10)
    assert order == ["parent-task", "child-task"]


@heading("Job flows", "Complex workflows")
def test_complex_workflows(app: Application) -> None:
    queue, order = app.queue.create_queue("flows", {"concurrency": 5}), list[Any]()
    queue.process(lambda job: order.append((job.name, job.data.get("part"))))
    init_job = queue.add("init-process", {"processId": "abc123"})
    tasks = [queue.add("process-data", {"part": part}, {"dependencies": [init_job.id]}) for part in (1, 2, 3)]
    finalize_job = queue.add("finalize-process", {"processId": "abc123"}, {"dependencies": [task.id for task in tasks]})
    app.start()
    finalize_job.wait_until_finished(timeout=10)
    assert order[0] == ("init-process", None)
    assert sorted(order[1:4]) == [("process-data", part) for part in (1, 2, 3)]
    assert order[4:] == [("finalize-process", None)]


@heading("Job flows", "Dynamic dependencies")
def test_dynamic_dependencies(app: Application) -> None:
    queue = app.queue.create_queue("flows")
    queue.add("other", data, {"jobId": "another-job-id", "delay": 600_000})
    job = queue.add("task", data, {"delay": 600_000})
    job.add_dependency("another-job-id")
    (dependency,) = job.get_dependencies()
    (dependent,) = dependency.get_dependents()
    assert (dependency.id, dependency.name, dependency.data) == ("another-job-id", "other", data)
    assert (dependent.id, dependent.name) == (job.id, "task")
    job.remove_dependency("another-job-id")
    assert job.get_dependencies() == []


@heading("Job flows", "Failing dependencies")
def test_failing_dependencies(app: Application) -> None:
    queue, ran = app.queue.create_queue("flows"), list[str]()

    @queue.process
    async def run(job: Any) -> None:
        if job.name == "broken":
            raise ValueError("no")
        ran.append(job.name)

    broken = queue.add("broken")
    job = queue.add("resilient-task", data, {"dependencies": [broken.id], "dependenciesMode": "optional"})
    job2 = queue.add("strict-task", data, {"dependencies": [broken.id], "dependenciesMode": "required"})
    job3 = queue.add("default-task", data, {"dependencies": [broken.id]})
    app.start()
    job.wait_until_finished(timeout=10)
    for strict in (job2, job3):
        with pytest.raises(JobFailed, match=broken.id):
            strict.wait_until_finished(timeout=10)
    assert ran == ["resilient-task"]


@heading("Repeatable jobs", "Cron expressions")
def test_cron_expressions(app: Application) -> None:
    queue = app.queue.create_queue("repeated")
    queue.add_repeatable_job("nightly-backup", {"type": "full"}, {"cron": "30 3 * * *"})
    queue.add_repeatable_job("weekly-report", {"format": "pdf"}, {"cron": "0 9 * * 1"})
    queue.add_repeatable_job("monthly-invoice", {"generate": True}, {"cron": "0 0 1 * *", "timezone": "Asia/Shanghai"})
    found = {one.name: one for one in queue.get_repeatable_jobs()}
    nightly, weekly, monthly = (
        found[name].next_run or pytest.fail(name) for name in ("nightly-backup", "weekly-report", "monthly-invoice")
    )
    assert (nightly.hour, nightly.minute) == (3, 30)
    assert (weekly.isoweekday(), weekly.hour) == (1, 9)
    assert (monthly.hour, monthly.minute) == (16, 0)  # midnight in Shanghai


@heading("Repeatable jobs", "Fixed intervals")
def test_fixed_intervals(app: Application) -> None:
    queue, ran = app.queue.create_queue("repeated"), list[Any]()

    @queue.process
    async def run(job: Any) -> None:
        if job.name != "health-check":  # its slot may come just now
            ran.append(job.data)

    every = queue.add_repeatable_job("health-check", {"endpoints": ["a"]}, {"every": 10 * 60 * 1000})
    assert every.every == 600_000
    queue.add_repeatable_job("hourly-task", data, {"every": 100, "limit": 2})
    app.start()
    until(lambda: [one.next_run for one in queue.get_repeatable_jobs() if one.name == "hourly-task"] == [None])
    until(lambda: ran == [data, data])


@heading("Repeatable jobs", "Advanced scheduling")
def test_advanced_scheduling(app: Application) -> None:
    queue, ran = app.queue.create_queue("repeated"), list[str]()
    queue.process(lambda job: ran.append(job.name))
    app.start()
    queue.add_repeatable_job(
        "business-hours-task",
        data,
        {
            "cron": "0 * 9-17 * * 1-5",
            "startDate": datetime(2023, 1, 1, tzinfo=timezone.utc),
            "endDate": datetime(2023, 12, 31, tzinfo=timezone.utc),
        },
    )
    queue.add_repeatable_job("immediate-then-scheduled", data, {"cron": "0 0 * * *", "immediately": True})
    until(lambda: ran == ["immediate-then-scheduled"])
    assert [one.name for one in queue.get_repeatable_jobs() if one.next_run is None] == ["business-hours-task"]


@heading("Repeatable jobs", "Managing repeatable jobs")
def test_managing_repeatable_jobs(app: Application) -> None:
    queue = app.queue.create_queue("repeated")
    queue.add_repeatable_job("nightly-backup", {"type": "full"}, {"cron": "30 3 * * *"})
    old_repeat_options = {"name": "report", "cron": "0 9 * * 1", "attempts": 3}
    queue.add_repeatable_job("report", data, {"cron": "0 9 * * 1", "attempts": 3})
    assert len(queue.get_repeatable_jobs()) == 2
    assert queue.remove_repeatable_job({"name": "nightly-backup", "cron": "30 3 * * *"})
    assert queue.remove_repeatable_job(old_repeat_options)
    queue.add_repeatable_job("report", data, {"cron": "0 10 * * 1"})
    (record,) = queue.get_repeatable_jobs()
    assert record.cron == "0 10 * * 1"
    assert queue.remove_repeatable_job(record)
    assert queue.get_repeatable_jobs() == []


@heading("The schedule plugin", "Integration", "Jobs from schedules", "Intervals and queues")
def test_schedules_add_jobs(app: Application) -> None:
    app.start()
    email_queue = app.queue.get_queue("emails")

    async def nightly() -> None:
        await email_queue.aio.add("nightly-backup", {"type": "full"})

    async def hourly_stats() -> None:
        await app.queue.get_queue("reports").aio.add("hourly-stats", {"type": "summary"})

    async def perhaps() -> None:
        """Of schedules whose slot may come just now: what they add is not counted."""
        await app.queue.get_queue("others").aio.add("other")

    app.schedule.cron("30 3 * * *", perhaps)
    app.schedule.cron("0 9 * * 1", perhaps)
    app.schedule.cron("0 0 1 * *", perhaps, {"timezone": "Asia/Shanghai"})
    app.schedule.interval("10 minutes", perhaps)
    app.schedule.interval("1 hour", perhaps, {"limit": 24})
    app.schedule.cron("* * * * * *", nightly, {"limit": 1})
    app.schedule.interval("100 ms", hourly_stats, {"limit": 2})
    until(lambda: email_queue.get_job_counts()["waiting"] == 1)
    until(lambda: app.queue.get_queue("reports").get_job_counts()["waiting"] == 2)
    kept = app.schedule.list()
    assert [one.limit for one in kept] == [None, None, None, None, 24, 1, 2]
    assert kept[2].timezone == "Asia/Shanghai"


@heading("The schedule plugin", "Dynamic schedules")
def test_dynamic_schedules(app: Application) -> None:
    tasks = app.queue.get_queue("tasks")

    async def handler() -> None:
        await tasks.aio.add("data-sync", {"source": "external-api"})

    app.start()
    schedule_id = app.schedule.register({"cron": "* * * * * *", "handler": handler, "name": "data-sync-schedule"})
    app.schedule.pause(schedule_id)
    assert [(one.name, one.paused) for one in app.schedule.list()] == [("data-sync-schedule", True)]
    app.schedule.resume(schedule_id)
    until(lambda: tasks.get_job_counts()["waiting"])
    app.schedule.unregister(schedule_id)
    assert app.schedule.list() == []


@heading("The schedule plugin", "Choosing between the two")
def test_choosing_between_the_two(make_app: Any, driver: dict[str, Any]) -> None:
    """What the table says: repeatable jobs are kept in the store, schedules are of one application."""
    first = make_app(driver)
    first.queue.get_queue("q").add_repeatable_job("kept", data, {"cron": "0 0 * * *"})
    first.schedule.cron("0 0 * * *", print)
    second = make_app(driver)
    assert [one.name for one in second.queue.get_queue("q").get_repeatable_jobs()] == ["kept"]
    assert second.schedule.list() == []


@heading("The schedule plugin", "Locks over processes")
def test_locks_over_processes(make_app: Any, redis_options: dict[str, Any]) -> None:
    apps = [make_app(redis_options) for _ in range(2)]
    runs: list[int] = []

    for number, app in enumerate(apps):

        async def daily(app: Any = app, number: int = number) -> None:
            lock = app.distributed_lock.acquire("daily-task-lock", 30_000)
            if lock:
                runs.append(number)
                if len(runs) == 1:  # the first one keeps it, so the other one gets none
                    await app.queue.get_queue("daily-tasks").aio.add("generate-reports")
                    return
                app.distributed_lock.release("daily-task-lock")

        app.schedule.cron("* * * * * *", daily, {"limit": 2})
        app.start()
    until(lambda: all(one.schedule.list()[0].runs == 2 for one in apps))
    assert len(runs) == 1
    assert apps[0].queue.get_queue("daily-tasks").get_job_counts()["waiting"] == 1
    assert apps[runs[0]].distributed_lock.release("daily-task-lock")
