"""What a program may write, continued: looking at queues, what repeats, flows, asyncio and drivers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from program import app, emails, job
from typing_extensions import assert_type

from stratix_kombu import Application, Flow, Job, KombuDriver, QueueMetrics, RepeatableJob, register_queue_driver
from stratix_kombu.lock import Lock
from stratix_kombu.schedule import ScheduleInfo
from stratix_kombu.types import GraphNode, JobState, LimiterOpts, TreeNode

# -- the queue -------------------------------------------------------------------------------------

emails.pause()
emails.resume()
assert_type(emails.is_paused(), bool)
assert_type(emails.get_job("1"), Job | None)
assert_type(emails.get_jobs("failed"), list[Job])
emails.get_jobs(["waiting", "paused"], 0, 9)
emails.get_jobs()
wanted: list[JobState] = ["completed", "failed"]
emails.get_jobs(wanted)
assert_type(emails.get_job_counts()["waiting"], int)
assert_type(emails.get_status().oldest_waiting_ms, int | None)
assert_type(emails.get_metrics(minutes=5), QueueMetrics)
assert_type(emails.get_metrics(hours=24, name="welcome"), QueueMetrics)
assert_type(emails.get_metric_names(), list[str])
assert_type([one.recent.run.p95_ms for one in app.queue.get_overview(minutes=5)], list[int])
print(emails.get_metrics().total.run.p95_ms, [one.id for one in emails.get_workers()])
print(emails.name, app.queue.aio, app.queue.describe())
print([one.value for one in emails.get_events(after="", limit=10, wait=timedelta(seconds=1))])
emails.drain(delayed=True, on_progress=print)
assert_type(emails.clean(timedelta(days=7), state="failed", limit=10), list[str])
assert_type(emails.retry_jobs(state="failed", count=5), int)
assert_type(emails.promote_jobs(), int)
emails.redrive(limit=100, filter=lambda letter: "timeout" in letter["reason"])
assert_type([letter["reason"] for letter in emails.get_dead_letters()], list[str])
page = emails.find_jobs("failed", name="mail.*", limit=10)
assert_type([attempt.outcome for attempt in page.jobs[0].get_attempts()], list[str])
assert_type([group.count for group in emails.get_failure_reasons().groups], list[int])
assert_type(emails.get_letter_reasons(page.cursor).looked, int)
assert_type([one.slots for one in app.queue.get_workers()], list[int])
assert_type(app.queue.get_worker_jobs("w", limit=5), list[Job])
assert_type(emails.remove_jobs("failed", reason="timed out"), int)
assert_type(emails.cancel_jobs(ids=["4711"], cancel_reason="why"), int)
assert_type(emails.count_jobs("failed", name="mail.*").exact, bool)
assert_type(emails.obliterate(force=True), int)
limit: LimiterOpts = {"max": 100, "duration": 60_000}
emails.set_rate_limit(limit)
emails.set_rate_limit(max=100, duration=60_000)
emails.set_rate_limit()
assert_type(emails.get_rate_limit_ttl(), int)
assert_type(emails.get_rate_limit(), LimiterOpts | None)
emails.set_rate_limit(emails.get_rate_limit())
assert_type(emails.get_global_concurrency(), int | None)
emails.set_global_concurrency(None)
assert_type(emails.close(timeout=5), bool)

# -- repeating -------------------------------------------------------------------------------------

nightly = emails.add_repeatable_job(
    "backup", {"type": "full"}, cron="30 3 * * *", timezone="Asia/Shanghai", attempts=3, key="nightly"
)
assert_type(nightly, RepeatableJob)
assert_type(nightly.next_run, datetime | None)
emails.add_repeatable_job("check", every=timedelta(minutes=10), limit=100, immediately=True)
emails.add_repeatable_job("check", None, {"every": 600_000, "start_date": datetime.now(timezone.utc), "end_date": None})
emails.upsert_job_scheduler("nightly", {"pattern": "30 3 * * *"}, {"name": "backup", "opts": {"attempts": 3}})
assert_type(emails.get_repeatable_jobs(), list[RepeatableJob])
assert_type(emails.get_schedule_runs("nightly")[0].state, JobState | None)
assert_type(app.queue.get_repeatable_jobs(), list[RepeatableJob])
assert_type(app.queue.get_flows().flows[0].counts, dict[str, int])
assert_type(emails.remove_repeatable_job(name="backup", cron="30 3 * * *"), bool)
emails.remove_repeatable_job({"key": "nightly"})
emails.remove_repeatable_job(nightly)
emails.pause_repeatable_job("nightly")
emails.resume_repeatable_job("nightly")
assert_type(emails.run_repeatable_job("nightly"), Job)

# -- flows -----------------------------------------------------------------------------------------

tree: TreeNode = {"name": "sum", "queue": "etl", "children": [{"name": "part", "queue": "etl", "data": 1}]}
flow = app.queue.add_flow(tree)
assert_type(flow, Flow)
app.queue.add_flow(
    {"name": "sum", "queue": "etl", "children": [{"name": "part", "queue": "etl", "opts": {"attempts": 2}}]}
)
app.queue.add_flow(
    [{"key": "a", "name": "n", "queue": "q"}, {"name": "m", "queue": "q", "dependencies": ["a", job, "id"]}]
)
app.queue.add_flow({"name": "sum", "queue": "etl", "children": ({"name": "n", "queue": "q"} for _ in range(3))})
nodes: list[GraphNode] = [{"key": "a", "name": "n", "queue": "q"}, {"name": "m", "queue": "q", "dependencies": {"a"}}]
app.queue.add_flow(iter(nodes))
assert_type(flow.root, Job)
print(flow.jobs, flow.roots, flow.dependencies, flow.counts()["completed"])
assert_type(flow.states(), dict[str, JobState])
assert_type([one.id for one in flow], list[str])
assert_type(app.queue.get_flow(job), Flow | None)
assert_type(app.queue.add_canvas(flow.to_canvas()), Flow)
assert_type(app.queue.get_job("1"), Job | None)

# -- schedules and locks ---------------------------------------------------------------------------


@app.schedule.cron("30 3 * * *", timezone="Europe/Berlin")
async def nightly_run() -> None:
    await emails.aio.add("nightly")


@app.schedule.interval("10 minutes", limit=24, name="check", once=True)
def often() -> int:
    return 1


assert_type(often(), int)
assert_type(app.schedule.cron("*/5 * * * *", often), str)
app.schedule.cron("0 0 1 * *", nightly_run, {"timezone": "Asia/Shanghai"})
assert_type(app.schedule.interval(timedelta(hours=1), lambda: emails.add("check"), limit=24), str)
schedule_id = app.schedule.register(cron="*/5 * * * *", handler=nightly_run, name="sync")
assert_type(schedule_id, str)
app.schedule.register({"every": "1 hour", "handler": often})
app.schedule.pause(schedule_id)
app.schedule.resume(schedule_id)
assert_type(app.schedule.unregister(schedule_id), bool)
assert_type(app.schedule.list(), list[ScheduleInfo])
lock = app.distributed_lock.acquire("import", 30_000)
assert_type(lock, Lock | None)
if lock:
    with lock:
        lock.extend(timedelta(seconds=30))
with app.distributed_lock.hold("import", 30_000, timeout=5) as held:
    assert_type(held, Lock)
app.distributed_lock.release("import")

# -- asyncio ---------------------------------------------------------------------------------------


async def main() -> None:
    async with app as host:
        await app.astart()
        assert_type(await app.aclose(timeout=5), bool)
        assert_type(host, Application)
        added = await emails.aio.add("welcome", {"to": "ada"}, attempts=3)
        assert_type(added, Job)
        assert_type(await emails.aio.add_bulk([{"name": "n"}]), list[Job])
        number: int = await added.aio.wait_until_finished(timeout=10)
        assert_type(await added.aio.get_state(), JobState)
        print(number, await added.aio.get_dependency_results())
        await emails.aio.add_repeatable_job("backup", cron="30 3 * * *")
        await emails.aio.remove_repeatable_job((await emails.aio.get_repeatable_jobs())[0])
        await emails.aio.get_jobs("failed", 0, 9)
        await emails.aio.clean(state="failed")
        await emails.aio.set_rate_limit(max=10, duration=1000)
        await app.queue.aio.emit("user.registered", {"name": "ada"})
        assert_type(await app.queue.aio.add_flow(tree), Flow)
        assert_type(await flow.aio.counts(), dict[str, int])
        assert_type(await app.queue.aio.get_job("1"), Job | None)
        async for event in emails.aio.events(after=""):
            print(event.name, event.job_id)


# -- drivers ---------------------------------------------------------------------------------------


class FolderDriver(KombuDriver):
    name = "folder"
    known_options = frozenset({"folder"})

    def connect_options(self) -> tuple[str, dict[str, Any]]:
        return "filesystem://", {"data_folder_in": self.options["folder"]}


register_queue_driver("folder", lambda options: FolderDriver(options, namespace="shop"))
