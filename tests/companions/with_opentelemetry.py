"""OpenTelemetry's instrumentation of Celery."""

from __future__ import annotations

from typing import Any

from celery import chain, chord
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.companions.programs import OWN, Given, until, wait
from tests.companions.tasks import define

given = Given()
exporter = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))  # type: ignore[attr-defined]
app = given.app()
if given.said["order"] == "before":
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
given.install(app)
if given.said["order"] == "after":
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]


tasks = define(app)
add, total, boom = tasks.add, tasks.total, tasks.boom


def is_ours(span: Any) -> bool:
    return not span.name.endswith(OWN)


def use() -> Any:
    with trace.get_tracer("test").start_as_current_span("producer"):
        results = [
            add.delay(1, 2),
            app.send_task("proj.add", (1, 2)),
            chain(add.s(1, 1), add.s(2)).apply_async(),
            chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async(),
            add.apply_async((1, 2), countdown=0.1),
            boom.delay(),
        ]
        values = [wait(one) for one in results]
    until(lambda: len([one for one in exporter.get_finished_spans() if is_ours(one)]) == 19)
    spans = exporter.get_finished_spans()
    by_id = {one.context.span_id: one for one in spans}

    def above(span: Any) -> str:
        """The name of the parent. Whoever sends a body is another one: with the bridge a task of its own."""
        parent = by_id.get(span.parent.span_id) if span.parent else None
        return parent.name if parent is not None and span.name != "apply_async/proj.total" else ""

    heard = []
    for one in spans:
        if is_ours(one):
            attributes = dict(one.attributes or {})
            known = [str(attributes.get(key)) for key in ("celery.action", "celery.state", "celery.task_name")]
            heard.append([one.name, above(one), one.status.status_code.name, "celery.eta" in attributes, *known])
    return {"values": values, "traces": len({one.context.trace_id for one in spans}), "spans": sorted(heard)}


if __name__ == "__main__":
    given.run(app, use)
