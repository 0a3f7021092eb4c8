"""OpenTelemetry: spans and metrics of jobs, by the semantic conventions for messaging.

>>> from stratix_kombu.integrations.opentelemetry import instrument
>>> instrument(app)  # doctest: +SKIP
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from stratix_kombu import __version__
from stratix_kombu.application import Application
from stratix_kombu.errors import ConfigurationError, RateLimited
from stratix_kombu.model.headers import MAX_HEADERS_BYTES
from stratix_kombu.model.middleware import JobHead, Taking

SYSTEM = "stratix_kombu"
BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
"""As the conventions have them."""
_NAME = "stratix_kombu"
_instrumented: WeakSet[Application] = WeakSet()


def instrument(app: Application, *, tracer_provider: Any = None, meter_provider: Any = None) -> None:
    """Report each add, take and attempt of this process to OpenTelemetry; by default to the global providers. Call it
    where the application is created, in producers and in workers. Raises ConfigurationError if it was already called.

    >>> instrument(app)  # doctest: +SKIP
    """
    if app in _instrumented:
        raise ConfigurationError("this application is instrumented already")
    _instrumented.add(app)
    told = _Instruments(tracer_provider, meter_provider)
    app.middleware("add", told.send)
    app.middleware("take", told.receive)
    app.middleware("run", told.process)
    app.middleware("sandbox", in_the_trace)


def in_the_trace(job: Any) -> Iterator[None]:
    """Middleware in a sandbox: spans of the handler are children of the attempt's, if a provider is set there."""
    token = context.attach(propagate.extract(job.headers))
    try:
        yield
    finally:
        context.detach(token)


class _Instruments:
    """Tracer and meters, and the middleware that uses them."""

    def __init__(self, tracer_provider: Any, meter_provider: Any) -> None:
        self._tracer = trace.get_tracer(_NAME, __version__, tracer_provider)
        meter = metrics.get_meter(_NAME, __version__, meter_provider)
        self._sent = meter.create_counter("messaging.client.sent.messages", "{message}", "Jobs that were added.")
        self._consumed = meter.create_counter(
            "messaging.client.consumed.messages", "{message}", "Jobs that were taken."
        )
        self._calls = meter.create_histogram(
            "messaging.client.operation.duration",
            "s",
            "How long adding took.",
            explicit_bucket_boundaries_advisory=BUCKETS_S,
        )
        self._processing = meter.create_histogram(
            "messaging.process.duration", "s", "How long attempts took.", explicit_bucket_boundaries_advisory=BUCKETS_S
        )

    def send(self, jobs: Sequence[JobHead]) -> Iterator[None]:
        """Around add: one producer span, whose context the jobs carry."""
        queue = jobs[0].queue_name if len({job.queue_name for job in jobs}) == 1 else ""
        attributes: dict[str, Any] = _attributes(queue, "send")
        of_span: dict[str, Any] = dict(attributes)
        if len(jobs) == 1:
            of_span.update({"messaging.message.id": jobs[0].id, "stratix.job.name": jobs[0].name})
        else:
            of_span["messaging.batch.message_count"] = len(jobs)
        began = time.perf_counter()
        try:
            with self._span(f"send {queue}".strip(), SpanKind.PRODUCER, attributes, of_span):
                carried = _carried()
                for job in jobs:
                    job.headers.update(carried)
                yield
            self._sent.add(len(jobs), attributes)
        finally:
            self._calls.record(time.perf_counter() - began, attributes)

    def receive(self, taking: Taking) -> Iterator[None]:
        """Around take: one span for the jobs taken, linked to where each was added. None if there are none."""
        began = time.time_ns()
        yield
        if not taking.jobs:
            return
        attributes: dict[str, Any] = _attributes(taking.queue_name, "receive")
        self._consumed.add(len(taking.jobs), attributes)
        links = [Link(one) for one in map(_sender, taking.jobs) if one.is_valid]
        attributes["messaging.batch.message_count"] = len(taking.jobs)
        name = f"receive {taking.queue_name}"
        self._tracer.start_span(
            name, context.Context(), SpanKind.CLIENT, attributes, links=links, start_time=began
        ).end()

    def process(self, job: Any) -> Iterator[None]:
        """Around run: one consumer span an attempt, in the trace in which the job was added."""
        attributes = _attributes(job.queue_name, "process")
        of_span = {
            **attributes,
            "messaging.message.id": job.id,
            "stratix.job.name": job.name,
            "stratix.job.attempt": job.attempts_made + 1,
        }
        around = trace.get_current_span().get_span_context()  # of Celery's instrumentation, in its workers
        links = [Link(around)] if around.is_valid else []
        token = context.attach(propagate.extract(job.headers, context.Context()))
        began = time.perf_counter()
        try:
            with self._span(f"process {job.queue_name}", SpanKind.CONSUMER, attributes, of_span, links):
                job.headers.update(_carried())
                yield
        finally:
            context.detach(token)
            self._processing.record(time.perf_counter() - began, attributes)

    @contextmanager
    def _span(
        self, name: str, kind: SpanKind, attributes: dict[str, Any], of_span: dict[str, Any], links: Sequence[Link] = ()
    ) -> Iterator[Span]:
        """A span that is the current one; exceptions are recorded there, and their class in the metrics."""
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=of_span, links=links, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except RateLimited:  # no fault: the job goes back, and no attempt was made
                span.set_attribute("stratix.job.postponed", True)
                raise
            except BaseException as error:
                kind_of_error = f"{type(error).__module__}.{type(error).__qualname__}"
                attributes["error.type"] = kind_of_error.removeprefix("builtins.")
                span.set_attribute("error.type", attributes["error.type"])
                span.record_exception(error)
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise


def _attributes(queue: str, operation: str) -> dict[str, Any]:
    named = {"messaging.destination.name": queue} if queue else {}
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        **named,
    }


def _carried() -> dict[str, str]:
    """The current context as headers; baggage is left out if it is too large for a job."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    if sum(len(name) + len(value) for name, value in carrier.items()) > MAX_HEADERS_BYTES // 2:
        carrier.pop("baggage", None)
    return carrier


def _sender(job: JobHead) -> Any:
    return trace.get_current_span(propagate.extract(job.headers, context.Context())).get_span_context()
