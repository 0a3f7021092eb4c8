"""The document, heading by heading, in its forms: fault tolerance, monitoring, patterns; and that none was left out."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, JobFailed, create_app, queue_plugin
from tests.acceptance import test_document, test_document_workers
from tests.acceptance.document import SHOWN, heading
from tests.acceptance.test_readme import DOCUMENTED
from tests.waiting import until

data = {"some": "data"}


def delays(attempts_made: int) -> int:
    """The document's list of delays, shortened."""
    return dict(enumerate([1, 5, 15])).get(attempts_made - 1, 60)


@heading("Fault tolerance", "Redis that is highly available")
def test_redis_that_is_highly_available() -> None:
    app = create_app()
    app.register(
        queue_plugin,
        {
            "driver": "bullmq",
            "redis": {
                "sentinels": [{"host": f"sentinel-{number}", "port": 26379} for number in (1, 2, 3)],
                "name": "mymaster",
                "sentinelPassword": "sentinel-password",
                "password": "redis-password",
            },
        },
    )
    assert "mymaster" in app.queue.describe()
    cluster = {
        "cluster": [{"host": f"redis-node{number}", "port": 6379} for number in (1, 2, 3)],
        "options": {"redisOptions": {"password": "cluster-password"}},
    }
    app.close(0)
    with pytest.raises(ConfigurationError, match="the cluster as 'store'") as refused:
        create_app().register(queue_plugin, {"driver": "bullmq", "redis": cluster})
    assert "cluster-password" not in str(refused.value)


@heading("Fault tolerance", "Retry strategies")
def test_retry_strategies(app: Application) -> None:
    queue, tries = app.queue.create_queue("q", {"backoffs": [delays]}), list[str]()

    @queue.process
    async def fail(job: Any) -> str:
        tries.append(job.name)
        if tries.count(job.name) < 3:
            raise ValueError("not yet")
        return "done"

    app.start()
    jobs = [
        queue.add("critical-operation", data, {"attempts": 10, "backoff": {"type": "exponential", "delay": 5}}),
        queue.add("api-call", data, {"attempts": 5, "backoff": {"custom": delays}}),
    ]
    assert [job.wait_until_finished(timeout=10) for job in jobs] == ["done", "done"]
    assert [job.attempts_made for job in jobs] == [3, 3]
    with pytest.raises(ConfigurationError, match="create_queue"):
        queue.add("api-call", data, {"attempts": 5, "backoff": {"custom": lambda attempts_made: 1000}})


@heading("Fault tolerance", "Failover and stalled jobs")
def test_failover_and_stalled_jobs(make_app: Any, driver: dict[str, Any]) -> None:
    app = make_app({**driver, "bullmq": {"stalledCheckInterval": 100, "maxStalledCount": 2}})
    queue, stalled = app.queue.create_queue("q"), list[str]()

    @queue.on("stalled")
    async def log_failover(job: Any) -> None:
        stalled.append(job.id)

    job = queue.add("n")
    lost = app.queue.store.transitions.claim("q", [job.id], "a worker that dies", 50)
    assert len(lost.claims) == 1
    queue.process(lambda job: "done")
    app.start()
    assert job.wait_until_finished(timeout=10) == "done"
    until(lambda: stalled == [job.id])


@heading("Fault tolerance", "Graceful shutdown")
def test_graceful_shutdown(app: Application) -> None:
    emails, events_heard = app.queue.get_queue("emails"), list[Any]()

    @emails.process
    async def send(job: Any) -> str:
        await asyncio.sleep(0.1)
        return "sent"

    async def before_close() -> None:
        await emails.aio.pause()
        max_wait_time, start_time = 30, time.monotonic()
        while time.monotonic() - start_time < max_wait_time:
            counts = await emails.aio.get_job_counts()
            if counts["active"] == 0:
                break
            await asyncio.sleep(0.01)
        events_heard.append((await job.aio.get_state(), counts["paused"]))
        events_heard.append(await app.queue.aio.close_all())

    app.hook("beforeClose", before_close)
    app.start()
    job, _ = emails.add("n"), emails.add("waits")
    until(lambda: job.get_state() == "active")
    app.close()
    assert events_heard == [("completed", 1), True]


@heading("Monitoring", "Basic metrics")
def test_basic_metrics(app: Application) -> None:
    sent: list[Any] = []
    app.queue.create_queue("emails").process(lambda job: 1)
    app.queue.create_queue("reports")

    async def collect_queue_metrics() -> None:
        for queue in app.queue.get_all_queues():
            status, counts, metrics = await asyncio.gather(
                queue.aio.get_status(), queue.aio.get_job_counts(), queue.aio.get_metrics()
            )
            sent.append(
                {"queueName": queue.name, "status": status.to_dict(), "counts": counts, "metrics": metrics.to_dict()}
            )

    app.start()
    app.queue.get_queue("emails").add("n").wait_until_finished(timeout=10)
    app.schedule.interval("100 ms", collect_queue_metrics, {"limit": 1})
    until(lambda: len(sent) == 2)
    emails, reports = sent
    assert (emails["queueName"], emails["counts"]["completed"]) == ("emails", 1)
    assert emails["metrics"]["total"]["completed"] == 1
    assert (reports["queueName"], reports["status"]["paused"]) == ("reports", False)


@heading("Monitoring", "Prometheus")
def test_prometheus(app: Application) -> None:
    from prometheus_client import CollectorRegistry, Gauge, Histogram

    registry = CollectorRegistry()
    size = Gauge("queue_size", "jobs", ["queue", "status"], registry=registry)
    processing_time = Histogram("job_processing_time", "ms", ["queue", "job_name"], registry=registry)
    queue = app.queue.create_queue("emails")
    queue.process(lambda job: 1)

    @queue.on("completed")
    def observe(job: Any, result: Any) -> None:
        processing_time.labels(queue.name, job.name).observe(time.time() * 1000 - job.processed_on)

    app.start()
    queue.add("welcome").wait_until_finished(timeout=10)
    for status, count in queue.get_job_counts().items():
        size.labels(queue.name, status).set(count)
    labels = {"queue": "emails", "job_name": "welcome"}
    until(lambda: registry.get_sample_value("job_processing_time_count", labels) == 1)
    assert registry.get_sample_value("queue_size", {"queue": "emails", "status": "completed"}) == 1


@heading("Monitoring", "Custom events and metrics")
def test_custom_events_and_metrics(app: Application) -> None:
    heard: list[Any] = []

    class EnhancedQueue:
        def __init__(self, queue: Any) -> None:
            self.queue = queue

        async def add(self, name: str, data: Any, opts: Any = None) -> Any:
            start_time = time.monotonic()
            result = await self.queue.aio.add(name, data, opts)
            latency = {"queue": self.queue.name, "name": name, "duration": time.monotonic() - start_time}
            await app.queue.aio.emit("metrics:addLatency", latency)
            return result

    @app.queue.on("metrics:addLatency")
    async def note(latency: Any) -> None:
        heard.append((latency["queue"], latency["name"], latency["duration"] >= 0))

    enhanced = EnhancedQueue(app.queue.get_queue("emails"))
    job = asyncio.run(enhanced.add("welcome", data, {"delay": 600_000}))
    assert job.state == "delayed"
    until(lambda: heard == [("emails", "welcome", True)])


@heading("Patterns", "Producer and consumer apart")
def test_producer_and_consumer_apart(make_app: Any, redis_options: dict[str, Any]) -> None:
    server = {"redis": redis_options["redis"]}  # without a driver, as the document has it
    producer, consumer = make_app(server), make_app(server)
    job = producer.queue.get_queue("tasks").add("task-type", data)
    consumer_queue = consumer.queue.get_queue("tasks")

    @consumer_queue.process
    async def run(job: Any) -> Any:
        return job.data

    consumer.start()
    assert job.wait_until_finished(timeout=10) == data


@heading("Patterns", "Priority queues")
def test_priority_queues(app: Application) -> None:
    high, normal, low = (app.queue.create_queue(f"{name}-priority-tasks") for name in ("high", "normal", "low"))
    order: list[str] = []

    async def run(job: Any) -> None:
        order.append(job.name)

    high.add("urgent-task", data)
    normal.add("regular-task", data)
    low.add("background-task", data)
    high.process(lambda job: run(job))
    high.on("drained", lambda: normal.process(lambda job: run(job)))
    normal.on("drained", lambda: low.process(lambda job: run(job)))
    app.start()
    until(lambda: order == ["urgent-task", "regular-task", "background-task"])
    high.add("once more", data)
    until(lambda: order[3:] == ["once more"])


@heading("Patterns", "Worker pools")
def test_worker_pools(app: Application) -> None:
    main_queue = app.queue.create_queue("main-tasks", {"concurrency": 4})
    pools = {
        "image-processing": app.queue.create_queue("image-worker-pool", {"concurrency": 2}),
        "text-processing": app.queue.create_queue("text-worker-pool", {"concurrency": 5}),
    }

    @main_queue.process
    async def dispatch(job: Any) -> Any:
        kind = job.data["type"]
        if kind not in pools:
            raise ValueError(f"unknown type of task: {kind}")
        pool_job = await pools[kind].aio.add(kind, job.data["data"])
        return await pool_job.aio.wait_until_finished()

    for name, pool in pools.items():
        pool.process(lambda job, name=name: f"{name} of {job.data}")
    app.start()
    jobs = [main_queue.add("n", {"type": kind, "data": 5}) for kind in (*pools, "sound-processing")]
    assert [job.wait_until_finished(timeout=10) for job in jobs[:2]] == [f"{name} of 5" for name in pools]
    with pytest.raises(JobFailed, match="unknown type of task: sound-processing"):
        jobs[2].wait_until_finished(timeout=10)


@heading("Patterns", "Event bus")
def test_event_bus(app: Application) -> None:
    welcomed: list[str] = []

    async def publish_event(event_name: str, event_data: Any) -> None:
        await app.queue.get_queue("events").aio.add(event_name, {"timestamp": time.time(), "data": event_data})

    def subscribe_to_event(event_name: str, handler: Any) -> None:
        async def run(job: Any) -> None:
            await handler(job.data)

        app.queue.get_queue("events").process(event_name, run)

    async def welcome(event_data: Any) -> None:
        welcomed.append(event_data["data"]["email"])

    asyncio.run(publish_event("user.registered", {"userId": 123, "email": "user@example.com"}))
    subscribe_to_event("user.registered", welcome)
    app.start()
    until(lambda: welcomed == ["user@example.com"])


@heading("Patterns", "Dead letters")
def test_dead_letters(app: Application) -> None:
    main_queue, dead_letter_queue = app.queue.create_queue("main-tasks"), app.queue.create_queue("dead-letter")
    notified: list[Any] = []

    @main_queue.process
    async def run(job: Any) -> None:
        try:
            raise ConnectionRefusedError("permanent")
        except OSError as error:
            await dead_letter_queue.aio.add(
                "failed-task",
                {
                    "originalJob": {"id": job.id, "name": job.name, "data": job.data},
                    "error": {"message": str(error), "code": error.errno},
                    "timestamp": time.time(),
                },
            )
            raise RuntimeError(f"moved to the dead letters: {error}") from error

    @dead_letter_queue.process
    async def notify_administrator(job: Any) -> None:
        notified.append((job.data["originalJob"]["id"], job.data["error"]["message"]))

    app.start()
    job = main_queue.add("n", data)
    with pytest.raises(JobFailed, match="moved to the dead letters: permanent"):
        job.wait_until_finished(timeout=10)
    until(lambda: notified == [(job.id, "permanent")])


def test_no_heading_of_the_document_was_left_out() -> None:
    assert test_document.data == test_document_workers.data  # their headings are noted when they are imported
    assert {chapter: sorted(headings) for chapter, headings in SHOWN.items()} == {
        chapter: sorted(headings) for chapter, headings in DOCUMENTED.items()
    }
