"""The document, heading by heading, in its forms: sandboxes, limits, drivers of one's own, performance."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import (
    Application,
    JobFailed,
    PayloadTooLarge,
    QueueDriver,
    QueueInstance,
    create_app,
    queue_plugin,
    register_queue_driver,
)
from stratix_kombu.drivers import registry
from stratix_kombu.model import suspects
from stratix_kombu.model.record import Retention
from tests.acceptance.document import heading

data = {"some": "data"}
PROCESSOR = """
import asyncio, os, time

async def process(job):
    if job.name == "hang":
        await asyncio.sleep(60)
    if job.name == "crash":
        os._exit(3)
    return [os.getpid(), job.data]
"""


@pytest.fixture
def my_processor(tmp_path: Path) -> Path:
    """processors/my-processor, in Python."""
    file = tmp_path / "processors" / "my_processor.py"
    file.parent.mkdir()
    file.write_text(PROCESSOR)
    return file


def resize(job: Any) -> Any:
    """A handler that its queue has run in another process."""
    return os.getpid()


@heading("Sandboxes", "Switching them on")
def test_switching_sandboxes_on(make_app: Any, driver: dict[str, Any]) -> None:
    app = make_app({**driver, "processor": {"sandboxed": True}})
    image_queue = app.queue.create_queue("image-processing", {"processor": {"sandboxed": True, "maxSandboxes": 4}})
    assert image_queue.concurrency == 4
    for queue in (image_queue, app.queue.get_queue("another")):
        queue.process(resize)
    app.start()
    for queue in (image_queue, app.queue.get_queue("another")):
        assert queue.add("resize").wait_until_finished(timeout=30) != os.getpid()


@heading("Sandboxes", "Handlers in files", "Options", "Advantages and drawbacks")
def test_handlers_in_files_and_what_ends_them(app: Application, my_processor: Path) -> None:
    queue = app.queue.create_queue(
        "cpu-intensive",
        {"processor": {"sandboxed": True, "timeout": 1500, "maxMemoryUsage": 512, "killBehavior": "force"}},
    )
    queue.process("task-type", str(my_processor))
    queue.process(my_processor)
    app.start()
    crash, hang = queue.add("crash"), queue.add("hang")
    for job, reason in ((crash, "exited with code 3"), (hang, "timed out after 1500 ms")):
        with pytest.raises(JobFailed, match=reason):
            job.wait_until_finished(timeout=30)
    assert queue.add("task-type", data).wait_until_finished(timeout=30)[1] == data


@heading("Rate limits", "Of a queue", "Of a job")
def test_limits_of_a_queue_and_of_a_job(app: Application) -> None:
    api_queue = app.queue.create_queue(
        "api-calls", {"limiter": {"max": 2, "duration": 60_000, "bounceBack": True}, "concurrency": 5}
    )
    queue = app.queue.create_queue("tasks", {"concurrency": 5})
    for one in (api_queue, queue):
        one.process(lambda job: time.time())
    app.start()
    calls = [api_queue.add("call") for _ in range(4)]
    queue.add("high-frequency-task", data, {"limiter": {"max": 50, "duration": 1000}}).wait_until_finished(timeout=10)
    low = [queue.add("low-frequency-task", data, {"limiter": {"max": 1, "duration": 60_000}}) for _ in range(2)]
    queue.add("free").wait_until_finished(timeout=10)
    for job in (*calls[:2], low[0]):
        job.wait_until_finished(timeout=10)
    assert [job.get_state() in ("waiting", "delayed") for job in (*calls[2:], low[1])] == [True] * 3


@heading("Rate limits", "Over all workers")
def test_limits_over_all_workers(make_app: Any, redis_options: dict[str, Any]) -> None:
    queues = []
    for _ in range(2):
        app = make_app(redis_options)
        queue = app.queue.create_queue("shared-queue", {"limiter": {"max": 3, "duration": 60_000}, "concurrency": 5})
        queue.process(lambda job: 1)
        queues.append(queue)
        app.start()
    jobs = queues[0].add_bulk([{"name": "n", "data": number} for number in range(6)])
    for _ in range(3):
        asyncio.run(_first_of(jobs))
        jobs = [job for job in jobs if job.get_state() != "completed"]
        if len(jobs) == 3:
            break
    assert len(jobs) == 3
    assert queues[1].get_job_counts()["completed"] == 3


async def _first_of(jobs: Any) -> None:
    waits = [asyncio.ensure_future(job.aio.wait_until_finished(timeout=10)) for job in jobs]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for one in waits:
        one.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


@heading("Rate limits", "Token buckets")
def test_token_buckets(app: Application) -> None:
    token_bucket_limiter = {"max": 100, "duration": 60_000, "refillRate": 0.001, "initialTokens": 2}
    queue = app.queue.create_queue("throttled-queue", {"limiter": token_bucket_limiter, "concurrency": 5})
    queue.process(lambda job: 1)
    app.start()
    jobs = [queue.add("n") for _ in range(3)]
    for job in jobs[:2]:
        job.wait_until_finished(timeout=10)
    assert jobs[2].get_state() in ("waiting", "delayed")


class MyCustomQueueInstance(QueueInstance):
    """Of a driver that keeps its jobs by itself."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name, self.options, self.jobs, self.closed = name, options, list[Any](), False

    async def add(self, name: str, data: Any = None, opts: Mapping[str, Any] | None = None) -> int:
        self.jobs.append((name, data, opts))
        return len(self.jobs)

    def process(self, *handler: Any) -> None: ...

    async def close(self) -> None:  # type: ignore[override]  # as the document has it
        self.closed = True


class MyCustomQueueDriver(QueueDriver):
    """As the document has it: what may be asynchronous is."""

    made: MyCustomQueueDriver

    def __init__(self, options: Any) -> None:
        self.options, self.calls = options, list[str]()
        MyCustomQueueDriver.made = self

    async def init(self) -> None:  # type: ignore[override]
        self.calls.append("init")

    def create_queue(self, name: str, options: Any = None) -> QueueInstance:
        return MyCustomQueueInstance(name, options)

    async def close(self) -> None:  # type: ignore[override]
        self.calls.append("close")

    def get_name(self) -> str:
        return "custom"

    async def check_health(self) -> bool:  # type: ignore[override]
        return True


@heading("Custom drivers", "Implementing a driver", "Registering it", "Third-party systems")
@pytest.mark.parametrize("name", ["custom", "sqs"])
def test_custom_drivers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    register_queue_driver(name, lambda options: MyCustomQueueDriver(options))
    credentials = {"accessKeyId": "YOUR_ACCESS_KEY", "secretAccessKey": "YOUR_SECRET_KEY"}
    app = create_app()
    app.register(queue_plugin, {"driver": name, name: {"aws": {"region": "us-east-1", "credentials": credentials}}})
    app.start()
    queue: Any = app.queue.get_queue("tasks")
    assert asyncio.run(queue.add("n", data, {"delay": 5})) == 1
    assert app.queue.check_health()["driver"] is True
    app.close()
    driver = MyCustomQueueDriver.made
    assert (driver.calls, queue.closed) == (["init", "close"], True)
    assert driver.options["aws"]["credentials"]["access_key_id"] == "YOUR_ACCESS_KEY"


@heading("Performance", "Bulk operations", "Concurrency")
def test_bulk_operations_and_concurrency(app: Application) -> None:
    io_queue = app.queue.create_queue("io-tasks", {"concurrency": 50})
    cpu_queue = app.queue.create_queue("cpu-tasks", {"concurrency": 4, "processor": {"sandboxed": True}})
    assert (io_queue.concurrency, cpu_queue.concurrency) == (50, 4)
    together = 0

    @io_queue.process
    async def run(job: Any) -> int:
        nonlocal together
        together += 1
        while together < 20:
            await asyncio.sleep(0.01)
        return int(job.data["id"])

    async def main() -> list[int]:
        jobs = await io_queue.aio.add_bulk([{"name": "task1", "data": {"id": number}} for number in range(20)])
        return list(await asyncio.gather(*(job.aio.wait_until_finished(timeout=20) for job in jobs)))

    app.start()
    assert asyncio.run(main()) == list(range(20))


@heading("Performance", "Size of data")
def test_size_of_data(app: Application) -> None:
    queue = app.queue.create_queue("images", {"maxPayloadBytes": 10_000})
    with pytest.raises(PayloadTooLarge, match=r"10000|10,000"):
        queue.add("process-image", {"imageData": "x" * 20_000, "metadata": {}})
    assert queue.add("process-image", {"imageUrl": "s3://bucket/image.jpg", "metadata": {}}).id


@heading("Performance", "Connections to Redis")
def test_connections_to_redis(make_app: Any, redis_options: dict[str, Any]) -> None:
    tried: list[int] = []

    def connect_retry_strategy(times: int) -> int:
        tried.append(times)
        return min(times * 200, 5000)

    app = make_app(
        {
            "redis": {
                **redis_options["redis"],
                "connectTimeout": 10_000,
                "maxRetriesPerRequest": 3,
                "enableReadyCheck": True,
                "autoResendUnfulfilledCommands": True,
                "connectionNamespace": "queue",
                "enableOfflineQueue": True,
                "connectRetryStrategy": connect_retry_strategy,
            }
        }
    )
    queue = app.queue.create_queue("q")
    queue.process(lambda job: job.data)
    app.start()
    assert queue.add("n", 1).wait_until_finished(timeout=10) == 1
    assert "redis://" in app.queue.describe()
    assert tried == []


@heading("Performance", "Retention")
def test_retention(make_app: Any, driver: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    app = make_app({**driver, "defaultJobOptions": {"removeOnComplete": 2, "removeOnFail": 1}})
    queue = app.queue.create_queue("q")
    queue.process(lambda job: 1 / job.data)
    app.start()
    for value in (1, 1, 1, 0, 0):
        job = queue.add("n", value)
        if value:
            job.wait_until_finished(timeout=10)
        else:
            with pytest.raises(JobFailed):
                job.wait_until_finished(timeout=10)
    counts = queue.get_job_counts()
    assert (counts["completed"], counts["failed"]) == (2, 1)
    assert [one for one in caplog.records if one.levelno >= logging.WARNING and "count" in one.getMessage()] == []

    suspects._said.clear()  # each is said once in a process
    aged = make_app({**driver, "defaultJobOptions": {"removeOnComplete": 24 * 3600 * 1000}})
    assert aged.queue.settings.job_defaults.keep_completed == Retention(count=86_400_000)
    said = " ".join(one.getMessage() for one in caplog.records)
    assert "'remove_on_complete' is a count: the newest 86,400,000 jobs are kept. For an age of 1 day" in said
    meant = make_app({**driver, "defaultJobOptions": {"removeOnComplete": {"age": 24 * 3600 * 1000}}})
    assert meant.queue.settings.job_defaults.keep_completed == Retention(age_ms=86_400_000)
