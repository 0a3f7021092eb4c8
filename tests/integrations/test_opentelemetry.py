"""OpenTelemetry: what the SDK exports of jobs, in our worker and in Celery's."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from stratix_kombu import Application, ConfigurationError, JobFailed, RateLimited, create_app
from stratix_kombu.integrations.opentelemetry import instrument
from tests.integrations import sandboxed
from tests.waiting import WAIT_S, until


class Telemetry:
    """One provider of each kind, and what they have received."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers, self.meters = TracerProvider(), MeterProvider([self.reader])
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracers.get_tracer("test")

    def spans(self, name: str = "") -> list[ReadableSpan]:
        return [one for one in self.exporter.get_finished_spans() if name in one.name]

    def wait_for(self, name: str, number: int) -> list[ReadableSpan]:
        until(lambda: len(self.spans(name)) >= number, WAIT_S)
        return self.spans(name)

    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        assert data is not None
        found = [one for resource in data.resource_metrics for scope in resource.scope_metrics for one in scope.metrics]
        return {one.name: list(one.data.data_points) for one in found}


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def app(telemetry: Telemetry) -> Iterator[Application]:
    with create_app({"driver": "memory", "namespace": f"otel{uuid.uuid4().hex[:8]}"}) as app:
        instrument(app, tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)
        yield app


def test_one_trace_from_the_producer_to_the_handler(app: Application, telemetry: Telemetry) -> None:
    queue = app.queue.create_queue("emails")
    seen: list[Any] = []

    @queue.process
    def send(job: Any) -> None:
        seen.append(job.data)
        with telemetry.tracer.start_as_current_span("smtp"):
            pass

    with telemetry.tracer.start_as_current_span("request"):
        job = queue.add("welcome", {"to": "ada"})
    app.start()
    job.wait_until_finished(10)
    (process,) = telemetry.wait_for("process", 1)
    (request,), (sent,), (smtp,) = (telemetry.spans(name) for name in ("request", "send", "smtp"))
    assert (sent.name, sent.kind, process.name, process.kind) == (
        "send emails",
        SpanKind.PRODUCER,
        "process emails",
        SpanKind.CONSUMER,
    )
    parents = {one.name: one.parent and one.parent.span_id for one in (sent, process, smtp)}
    ids = {one.name: one.context.span_id for one in (request, sent, process)}
    assert parents == {
        "send emails": ids["request"],
        "process emails": ids["send emails"],
        "smtp": ids["process emails"],
    }
    assert len({one.context.trace_id for one in (request, sent, process, smtp)}) == 1
    common = {
        "messaging.system": "stratix_kombu",
        "messaging.destination.name": "emails",
        "messaging.message.id": job.id,
        "stratix.job.name": "welcome",
    }
    assert dict(sent.attributes or {}) == {
        **common,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }
    assert dict(process.attributes or {}) == {
        **common,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "stratix.job.attempt": 1,
    }
    (receive,) = telemetry.spans("receive")
    assert [link.context.span_id for link in receive.links] == [sent.context.span_id]
    assert seen == [{"to": "ada"}]


def test_retries_are_attempts_of_one_trace(app: Application, telemetry: Telemetry) -> None:
    queue = app.queue.create_queue("q")
    begun: list[int] = []

    @queue.process
    async def fragile(job: Any) -> str:
        begun.append(job.attempts_made)
        await asyncio.sleep(0)
        if len(begun) == 1:
            raise OSError("away")
        if len(begun) == 2:
            raise RateLimited(1)
        return f"{trace.get_current_span().get_span_context().span_id:x}"

    job = queue.add("n", attempts=3)
    app.start()
    here = job.wait_until_finished(10)
    first, held, last = telemetry.wait_for("process", 3)
    assert len({one.context.trace_id for one in (first, held, last, *telemetry.spans("send"))}) == 1
    assert [(one.attributes or {})["stratix.job.attempt"] for one in (first, held, last)] == [1, 2, 2]
    assert (first.status.status_code, (first.attributes or {})["error.type"]) == (StatusCode.ERROR, "OSError")
    assert [event.name for event in first.events] == ["exception"]
    assert held.status.status_code == last.status.status_code == StatusCode.UNSET
    assert (held.attributes or {})["stratix.job.postponed"] is True
    assert here == f"{last.context.span_id:x}"


def test_batches_are_one_span_and_linked(app: Application, telemetry: Telemetry) -> None:
    queue = app.queue.create_queue("q", concurrency=5)
    queue.process(lambda job: None)
    jobs = queue.add_bulk([{"name": "n"} for _ in range(3)])
    (sent,) = telemetry.spans("send")
    assert (sent.attributes or {})["messaging.batch.message_count"] == 3
    app.start()
    for job in jobs:
        job.wait_until_finished(10)
    assert {one.parent and one.parent.span_id for one in telemetry.wait_for("process", 3)} == {sent.context.span_id}
    received = telemetry.spans("receive")
    assert sum(len(one.links) for one in received) == 3
    assert sum(int((one.attributes or {})["messaging.batch.message_count"]) for one in received) == 3  # type: ignore[arg-type]


def test_coroutines_that_add_have_each_their_own_parent(app: Application, telemetry: Telemetry) -> None:
    queue = app.queue.create_queue("q")

    async def request(name: str) -> None:
        with telemetry.tracer.start_as_current_span(name):
            await queue.aio.add(name)

    async def main() -> None:
        await asyncio.gather(request("a"), request("b"))

    asyncio.run(main())
    spans = {one.name: one for one in telemetry.spans()}
    names = {(one.attributes or {})["stratix.job.name"]: one for one in telemetry.spans("send")}
    assert {name: one.parent and one.parent.span_id for name, one in names.items()} == {
        name: spans[name].context.span_id for name in ("a", "b")
    }


def test_metrics(app: Application, telemetry: Telemetry) -> None:
    queue = app.queue.create_queue("q")
    queue.process(lambda job: 1 / job.data)
    app.start()
    good, bad = queue.add("n", 1), queue.add("n", 0)
    good.wait_until_finished(10)
    with pytest.raises(JobFailed):
        bad.wait_until_finished(10)
    telemetry.wait_for("process", 2)
    until(lambda: sum(one.count for one in telemetry.metrics()["messaging.process.duration"]) == 2, WAIT_S)
    found = telemetry.metrics()
    assert [one.value for one in found["messaging.client.sent.messages"]] == [2]
    assert sum(one.value for one in found["messaging.client.consumed.messages"]) == 2
    assert [one.count for one in found["messaging.client.operation.duration"]] == [2]
    assert sorted(one.attributes.get("error.type", "") for one in found["messaging.process.duration"]) == [
        "",
        "ZeroDivisionError",
    ]


def test_a_sandbox_is_in_the_trace(app: Application, telemetry: Telemetry) -> None:
    queue = app.queue.create_queue("q", processor={"sandboxed": True})
    queue.process(sandboxed.trace_here)
    app.start()
    trace_id = queue.add("n").wait_until_finished(60)
    (process,) = telemetry.wait_for("process", 1)
    assert trace_id == f"{process.context.trace_id:032x}"


def test_too_much_baggage_is_left_behind(app: Application, telemetry: Telemetry) -> None:
    queue = app.queue.create_queue("q")
    token = context.attach(baggage.set_baggage("much", "x" * 8000))
    try:
        job = queue.add("n")
    finally:
        context.detach(token)
    assert list(job.headers) == ["traceparent"]


def test_it_is_done_once(app: Application) -> None:
    with pytest.raises(ConfigurationError, match="instrumented already"):
        instrument(app)


def _leave_logging(**_: Any) -> None:
    """A receiver of ``setup_logging``."""


def test_beside_celery_s_own_instrumentation(redis_url: str, telemetry: Telemetry) -> None:
    """In a Celery worker a job has one producer and one consumer span of ours, a task those of Celery's alone."""
    from celery import Celery
    from celery.contrib.testing.worker import start_worker
    from celery.signals import setup_logging
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    from stratix_kombu.celery import install

    celery = Celery("otel", broker=redis_url, set_as_current=False)
    stratix = install(celery, namespace=f"otel{uuid.uuid4().hex[:8]}")
    celery.conf.update(task_default_queue=f"q{uuid.uuid4().hex[:8]}", worker_hijack_root_logger=False)
    instrument(stratix, tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)
    queue = stratix.queue.get_queue(celery.conf.task_default_queue)

    @celery.task(name="otel.double")
    def double(number: int) -> int:
        return 2 * number

    @queue.process("greet")
    def greet(job: Any) -> str:
        double.delay(1)
        return "hello"

    CeleryInstrumentor().instrument(tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)
    # Celery leaves logging alone where somebody else sets it up; the tests after this one want it as it is.
    setup_logging.connect(_leave_logging)
    try:
        with start_worker(celery, pool="threads", concurrency=2, perform_ping_check=False, shutdown_timeout=30):
            with telemetry.tracer.start_as_current_span("request"):
                assert queue.add("greet").wait_until_finished(30) == "hello"
            telemetry.wait_for("run/otel.double", 1)
            telemetry.wait_for("run/stratix.job", 1)
    finally:
        setup_logging.disconnect(_leave_logging)
        CeleryInstrumentor().uninstrument()
        stratix.close()
    names = sorted(one.name.replace(queue.name, "q") for one in telemetry.spans() if "receive" not in one.name)
    assert names == ["apply_async/otel.double", "process q", "request", "run/otel.double", "run/stratix.job", "send q"]
    by_name = {one.name.partition(" ")[0]: one for one in telemetry.spans()}
    ours = ("request", "send", "process", "apply_async/otel.double", "run/otel.double")
    assert len({by_name[name].context.trace_id for name in ours}) == 1
    linked = [link.context.span_id for link in by_name["process"].links]
    assert linked == [by_name["run/stratix.job"].context.span_id]
