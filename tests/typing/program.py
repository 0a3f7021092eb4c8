"""What a program may write: it is checked as it stands, by two type checkers, and never run. See ``test_checkers``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

from stratix_kombu import (
    Application,
    EventsMissed,
    Handlers,
    Health,
    Job,
    JobFailed,
    JobHead,
    Queue,
    RateLimited,
    StratixError,
    UnrecoverableError,
    create_app,
    queue_plugin,
    schedule_plugin,
)
from stratix_kombu.types import AppSettings, JobOpts, JobState, QueueOpts

# -- applications ----------------------------------------------------------------------------------

settings: AppSettings = {
    "driver": "redis",
    "redis": {"host": "localhost", "port": 6379, "ssl": {"ca": "ca.pem"}, "sentinels": [{"host": "a"}, "b:26379"]},
    "store": {"url": "redis://localhost"},
    "default_job_options": {"attempts": 3, "remove_on_complete": {"age": timedelta(hours=1), "count": 10}},
    "queues": {"emails": {"concurrency": 3, "limiter": {"max": 10, "duration": 1000}}},
    "worker": {"lease_duration": 30_000, "clock": False},
    "metrics": {"port": 9100},
}
app = create_app(settings)
create_app()
create_app("stratix.toml")
create_app(Path("stratix.toml"))
create_app({"driver": "sqs", "sqs": {"aws": {"region": "eu-central-1"}}, "store": "redis://localhost"})
create_app({"driver": "rabbitmq", "rabbitmq": {"url": "amqp://localhost", "quorum": True}, "store": "memory://"})
app.register(queue_plugin, driver="custom", custom={"folder": "x"})
app.register(queue_plugin, {"driver": "redis"})
app.register(schedule_plugin)
app.start()
app.start(queues=["emails"])
assert_type(app.close(timeout=timedelta(seconds=1)), bool)
assert_type(app.check_health(within=timedelta(seconds=30), workers="all"), Health)
app.run(queues=["emails"])
with app as entered:
    app.start()
    assert_type(entered, Application)


@app.hook("before_close")
def closing() -> None: ...


@app.hook("after_start")
async def started() -> int:
    return 1


handlers = Handlers()


@handlers.process("emails", "welcome")
def welcomed(job: Job) -> str:
    return job.id


app.include(handlers)


@app.middleware("run")
def around(job: Job) -> Iterator[None]:
    print(job.headers.get("traceparent"), job.worker or "", job.repeat_key or "")
    yield


@app.middleware("add")
async def label(jobs: list[JobHead]) -> AsyncIterator[None]:
    jobs[0].headers["who"] = "ada"
    yield


app.middleware("take", lambda taking: nullcontext())
app.hook("after_close", closing)
app.hook("beforeClose", closing)
app.hook("before_start", lambda: print("starting"))
closing()

# -- queues ----------------------------------------------------------------------------------------


def patient(attempts_made: int) -> float:
    return 1000 * attempts_made


options: QueueOpts = {"concurrency": 10}
emails = app.queue.create_queue("emails", **options)
assert_type(emails, Queue)
assert_type(app.queue.get_queue("emails"), Queue)
assert_type(app.queue.get_all_queues(), list[Queue])
app.queue.create_queue(
    "images",
    concurrency=4,
    global_concurrency=5,
    dead_letter="dead",
    max_payload_bytes=2**20,
    backoffs={"patient": patient},
    default_job_options={"attempts": 3},
    limiter={"max": 100, "refill_rate": 10},
    processor={"sandboxed": True, "timeout": 60_000, "max_memory_usage": 512, "kill_behavior": "graceful"},
)
app.queue.create_queue("reports", backoffs=[patient])
app.queue.create_queue("others", {"concurrency": 10, "processor": {"sandboxed": True}})
assert_type(app.queue.get_queue_names(), list[str])
assert_type(app.queue.describe(), str)
assert_type(app.queue.check_health(), dict[str, bool])
assert_type(app.queue.close_all(timeout=5), bool)
emails.concurrency = 20
assert_type(emails.handler_names, list[str])

# -- adding ----------------------------------------------------------------------------------------

job = emails.add("welcome", {"to": "ada@example.com"})
assert_type(job, Job)
emails.add("welcome", {"to": "b"}, {"attempts": 3, "delay": timedelta(minutes=1)})
emails.add(
    "welcome",
    [1, 2],
    attempts=3,
    backoff={"type": "exponential", "delay": 1000, "jitter": 0.5},
    priority=5,
    timeout=timedelta(seconds=30),
    group="tenant",
    job_id="welcome-1",
    run_at=datetime(2030, 1, 1, tzinfo=timezone.utc),
    dependencies=[job, "another"],
    dependencies_mode="optional",
    remove_on_complete=True,
    remove_on_fail=100,
    limiter={"max": 10, "duration": 60_000, "key": "partner", "bounce_back": False},
    deduplication={"id": "welcome:ada", "ttl": 60_000, "extend": True},
)
emails.add("welcome", backoff=1000)
emails.add("welcome", backoff={"custom": patient})
emails.add("welcome", backoff={"custom": "patient"})
patiently: JobOpts = {"attempts": 5, "run_at": 1_700_000_000_000}
emails.add("welcome", None, patiently)
emails.add("welcome", None, **patiently)
assert_type(emails.add_bulk([{"name": "n", "data": 1, "opts": {"priority": 5}}, {"name": "n"}]), list[Job])
assert_type(emails.add_bulk({"name": "n", "data": number} for number in range(3)), list[Job])


def later(to: str, when: datetime | None = None, after: list[Job] | None = None) -> str:
    return emails.add("welcome", {"to": to}, run_at=when, dependencies=after).id


def mail(to: str) -> int:
    """As a checker that reads Celery's source sees a task."""
    return 3


emails.add(mail, {"to": "ada"}, delay=1000)

# -- handling --------------------------------------------------------------------------------------


@emails.process("welcome")
def welcome(job: Job) -> dict[str, int]:
    job.log("writing")
    job.update_progress(50)
    if job.attempts_made > 3:
        raise UnrecoverableError("no more")
    raise RateLimited(timedelta(seconds=30))


@emails.process("goodbye")
async def goodbye(job: Job) -> str:
    await job.aio.update_progress(50)
    assert_type(await job.aio.log("writing"), int)
    await job.aio.complete_in(object())
    return "sent"


@emails.process
def everything(job: Job) -> None: ...


@emails.process()
def everything_else(job: Job) -> None: ...


assert_type(welcome(job), dict[str, int])
assert_type(everything(job=job), None)


async def call_it() -> None:
    assert_type(await goodbye(job), str)


class Handler:
    def __call__(self, job: Job) -> int:
        return 1


emails.process("a", lambda job: job.data["x"])
emails.process("b", Path("processors/b.py"))
emails.process("c", "processors/c.py")
emails.process("d", Handler())
emails.process(Path("processors/all.py"))
emails.process(welcome)

# -- one job ---------------------------------------------------------------------------------------

assert_type(job.id, str)
assert_type(job.state, JobState)
assert_type(job.get_state(), JobState)
assert_type(job.attempts_made, int)
assert_type(job.failed_reason, str | None)
assert_type(job.stacktrace, list[str])
assert_type(job.timestamp, int)
assert_type(job.processed_on, int | None)
assert_type(job.finished_on, int | None)
assert_type(job.opts, Mapping[str, Any])
assert_type(job.refresh(), Job)
assert_type(job.get_logs(0, 9), list[str])
assert_type(job.get_dependents(), list[Job])
assert_type(job.get_dependencies(), list[Job])
assert_type(job.get_dependency_states(), dict[str, JobState | None])
assert_type(job.get_dependency_results(), dict[str, Any])
assert_type(job.cancelled, bool)
total: int = job.wait_until_finished(timeout=timedelta(seconds=10))
print(job.name, job.queue_name, job.progress, job.return_value, job.get_dependencies())
job.update_data({"to": "bob"})
job.retry()
job.rerun(dependents=True)
assert_type(job.was_cancelled, bool)
print(job.is_task, job.attempts_started, job.data)
job.promote()
job.remove()
job.cancel("no longer needed")
job.check_cancelled()
job.change_delay(timedelta(minutes=5))
job.change_priority(0)
job.add_dependency("another")
job.remove_dependency(job)
job.complete_in(object(), {"charged": 7})
try:
    job.wait_until_finished(5)
except JobFailed as failed:
    assert_type(failed.reason, str)
except StratixError:
    pass

# -- events ----------------------------------------------------------------------------------------


@emails.on("completed")
def completed(job: Job, result: dict[str, int]) -> None: ...


@emails.on("failed")
async def failed_job(job: Job, error: JobFailed) -> str:
    return error.reason


@emails.once("progress")
def progress(job: Job, value: int) -> None: ...


@emails.on("stalled")
def stalled(job: Job) -> int:
    return 1


@emails.on("drained")
def drained() -> None: ...


@emails.on("cleaned")
def cleaned(count: int) -> None: ...


@emails.on("error")
def faulty(error: Exception) -> None:
    if isinstance(error, EventsMissed):
        print(error.count)


assert_type(stalled(job), int)
drained()
emails.on("failed", lambda job, error: print(job.id, error.reason))
emails.on("waiting", lambda job: print(job.id))
emails.once("paused", drained)
assert_type(emails.off("completed", completed), int)
emails.off("failed")


@app.queue.on("user.registered")
def registered(user: dict[str, str], source: str) -> None: ...


app.queue.once("user.registered", registered)
app.queue.off("user.registered", registered)
app.queue.emit("user.registered", {"name": "ada"}, "web")
registered({}, "web")
