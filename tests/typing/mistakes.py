"""What a type checker has to find: each line with a comment ``# error`` is reported by both, and no other line is."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from stratix_kombu import Job, JobFailed, create_app, createApp  # noqa: F401  # error
from stratix_kombu.celery import install  # pyright: ignore[reportUnknownVariableType]  # Celery has no types
from stratix_kombu.types import JobOpts

app = create_app({"driver": "memory"})
emails = app.queue.create_queue("emails")
job = emails.add("welcome")
celery: Any = ...

# -- options ---------------------------------------------------------------------------------------

emails.add("welcome", atempts=3)  # error
emails.add("welcome", attempts="three")  # error
emails.add("welcome", None, {"atempts": 3})  # error
emails.add("welcome", backoff={"kind": "fixed"})  # error
emails.add("welcome", backoff={"type": "linear"})  # error
emails.add("welcome", run_at=timedelta(hours=1))  # error
emails.add("welcome", dependencies_mode="optionel")  # error
emails.add("welcome", limiter={"max": 10, "duratoin": 1000})  # error
emails.add("welcome", deduplication={"ttl": 1000})  # error
emails.add("welcome", remove_on_complete={"age": "one day"})  # error
emails.add(17)  # error
emails.add_bulk([{"data": 1}])  # error
emails.add_bulk([{"name": "n", "opts": {"prio": 1}}])  # error
options: JobOpts = {"attemps": 3}  # error
app.queue.create_queue("images", concurency=3)  # error
app.queue.create_queue("images", processor={"sandboxd": True})  # error
app.queue.add_flow({"queue": "etl"})  # error
app.queue.add_flow({"name": "sum", "queue": "etl", "childs": []})  # error
app.queue.add_flow({"name": "sum", "queue": "etl", "children": [{"nme": "n"}]})  # error
app.queue.add_flow({"name": "sum", "queue": "etl", "opts": {"dependencies": []}})  # error
emails.add_repeatable_job("backup", pattern="30 3 * * *")  # error
emails.add_repeatable_job("backup", every="10 minutes")  # error
emails.remove_repeatable_job(nme="backup")  # error
emails.set_rate_limit(maximum=3)  # error
emails.redrive(filter=lambda letter: letter["reson"] == "x")  # error
app.queue.create_queue("images", {"concurency": 3})  # error
app.schedule.cron("* * * * *", print, {"timezon": "UTC"})  # error
create_app({"drivr": "redis"})  # error
create_app({"redis": {"keyPrefix": "shop"}})  # error
create_app({"queues": {"emails": {"concurency": 3}}})  # error
create_app({"worker": {"lease": 30_000}})  # error
install(celery, storee="redis://localhost")  # error

# -- names -----------------------------------------------------------------------------------------

emails.get_jobs("wating")  # error
emails.get_jobs(["failed", "waiting-children"])  # error
emails.clean(state="complete")  # error
emails.retry_jobs("completed")  # error
app.check_health(workers="everywhere")  # error
app.hook("before_stop", print)  # error
print(job.processedOn)  # error
print(job.returnvalue)  # error
print(job.state == "complete")  # error
emails.getJobCounts()  # error
print(app.distributedLock)  # error

# -- handlers and listeners ------------------------------------------------------------------------

emails.process("welcome", lambda job: job.dta)  # error
emails.process("welcome", 3)  # error
emails.on("complete", print)  # error
emails.on("failed", lambda job, error: error.resaon)  # error
emails.on("failed", lambda job: job.id)  # error


@emails.process("welcome")  # error
def no_job() -> None: ...


@emails.on("completed")  # error
def no_result(job: Job) -> None: ...


@emails.on("failed")  # error
def wrong_error(job: Job, error: int) -> None: ...


@emails.on("drained")  # error
def too_much(job: Job) -> None: ...


@emails.once("cleaned")  # error
def wrong_count(count: str) -> None: ...


@app.hook("before_close")  # error
def wants_more(app: object) -> None: ...


@app.schedule.cron("30 3 * * *")  # error
def wants_a_job(job: Job) -> None: ...


@app.schedule.interval("1 hour", limits=3)  # error
def often() -> None: ...


@emails.on("completed")
def fine(job: Job, result: int) -> None: ...


fine(job)  # error
app.schedule.register(cron="30 3 * * *", handlr=often)  # error

# -- asyncio ---------------------------------------------------------------------------------------


async def main() -> int:
    await emails.add("welcome")  # error
    await emails.aio.add("welcome", atempts=3)  # error
    await emails.aio.get_jobs("wating")  # error
    await emails.aio.getJobs()  # error
    number: str = await job.aio.log("line")  # error
    print(number, JobFailed, datetime.now(timezone.utc))
    return await job.aio.get_state()  # error
