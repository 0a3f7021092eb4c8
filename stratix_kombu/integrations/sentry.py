"""Sentry: errors of jobs, transactions in the producer's trace, its queues page, check-ins of repeatable jobs.

>>> import sentry_sdk
>>> from stratix_kombu.integrations.sentry import instrument
>>> sentry_sdk.init(dsn="...", traces_sample_rate=1.0)  # doctest: +SKIP
>>> instrument(app)  # doctest: +SKIP
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

import sentry_sdk
from sentry_sdk.crons import capture_checkin
from sentry_sdk.utils import event_from_exception

from stratix_kombu.application import Application
from stratix_kombu.errors import ConfigurationError, JobCancelled, RateLimited, UnrecoverableError
from stratix_kombu.model.message import TASK
from stratix_kombu.model.middleware import JobHead
from stratix_kombu.worker.sandbox.protocol import SandboxFailure

ORIGIN = "auto.queue.stratix_kombu"
SYSTEM = "stratix_kombu"
_SENT = "sentry-sent-ms"
"""The header with the time at which a job was added, to compute how long it waited."""
_FRAME = re.compile(r'^  File "(.*)", line (\d+), in (.*)\n(?:    (.*)\n)?', re.MULTILINE)
_instrumented: WeakSet[Application] = WeakSet()


def instrument(app: Application, *, every_attempt: bool = False, crons: bool = True) -> None:
    """Report the adds and attempts of this process to Sentry; ``sentry_sdk.init`` may be called before or after.

    An error is reported when a job has failed for good, or for ``every_attempt``. With ``crons`` each run of a
    repeatable job checks in, under a monitor that is made by itself. Raises ConfigurationError if that was done.

    >>> instrument(app)  # doctest: +SKIP
    """
    if app in _instrumented:
        raise ConfigurationError("this application is instrumented already")
    _instrumented.add(app)
    told = _Told(app, every_attempt, crons)
    app.middleware("add", _publish)
    app.middleware("run", told.process)


def _publish(jobs: Sequence[JobHead]) -> Iterator[None]:
    """Around add: a span for each queue, if a transaction is open, and what a worker needs to continue its trace."""
    with _sending(jobs):
        for job in jobs:
            for name, value in (("sentry-trace", sentry_sdk.get_traceparent()), ("baggage", sentry_sdk.get_baggage())):
                if value:
                    job.headers[name] = value
            job.headers[_SENT] = str(int(time.time() * 1000))
        yield


@contextmanager
def _sending(jobs: Sequence[JobHead]) -> Iterator[None]:
    if sentry_sdk.get_current_span() is None:
        yield
        return
    queue = jobs[0].queue_name
    with sentry_sdk.start_span(op="queue.publish", name=queue, origin=ORIGIN) as span:
        span.set_data("messaging.system", SYSTEM)
        span.set_data("messaging.destination.name", queue)
        if len(jobs) == 1:
            span.set_data("messaging.message.id", jobs[0].id)
        yield


class _Told:
    """What is around each attempt."""

    def __init__(self, app: Application, every_attempt: bool, crons: bool) -> None:
        self._app = app
        self._every_attempt = every_attempt
        self._crons = crons
        self._monitors: dict[tuple[str, str], dict[str, Any] | None] = {}

    def process(self, job: Any) -> Iterator[None]:
        _leave_out_host()
        with sentry_sdk.isolation_scope() as scope:
            scope.clear_breadcrumbs()
            scope.set_tags({"queue": job.queue_name, "job_name": job.name, "job_id": job.id})
            known = {"attempt": job.attempts_made + 1, "attempts": job.opts["attempts"], "worker": job.worker}
            if sentry_sdk.get_client().options.get("send_default_pii"):
                known["data"] = job.data
            scope.set_context("job", {"id": job.id, "name": job.name, "queue": job.queue_name, **known})
            began = sentry_sdk.continue_trace(
                job.headers, op="queue.task.stratix_kombu", name=f"{job.queue_name}.{job.name}", source="task"
            )
            with self._checked_in(job), sentry_sdk.start_transaction(began) as transaction, _queue_span(job):
                no_fault: Exception | None = None
                try:
                    yield
                except (RateLimited, JobCancelled) as asked:
                    no_fault = asked  # raised within, it would be a fault of the transaction
                except BaseException as error:
                    transaction.set_status("internal_error")
                    if self._every_attempt or _is_last(job, error):
                        _capture(error)
                    raise
                transaction.set_status("cancelled" if no_fault else "ok")
            if no_fault is not None:
                raise no_fault

    @contextmanager
    def _checked_in(self, job: Any) -> Iterator[None]:
        key = job.repeat_key if self._crons else None
        if key is None or not sentry_sdk.is_initialized():
            yield
            return
        slug = re.sub(r"[^a-z0-9_-]+", "-", f"{job.queue_name}-{key}".lower())[:50].strip("-")
        config: Any = self._monitor(job.queue_name, key)
        check_in = capture_checkin(slug, status="in_progress", monitor_config=config)
        began = time.monotonic()
        status = "error"
        try:
            yield
            status = "ok"
        finally:
            capture_checkin(slug, check_in, status, time.monotonic() - began, config)

    def _monitor(self, queue: str, key: str) -> dict[str, Any] | None:
        """The schedule in Sentry's form; None if it cannot be expressed."""
        if (queue, key) not in self._monitors:
            repeatables = self._app.queue.get_queue(queue).get_repeatable_jobs()
            self._monitors[queue, key] = next(
                (_config(repeatable) for repeatable in repeatables if repeatable.key == key), None
            )
        return self._monitors[queue, key]


def _leave_out_host() -> None:
    """In a Celery worker, Sentry's own integration opens a transaction for the task that hosts the job, which is not in
    the producer's trace. The job's own takes its place."""
    transaction = sentry_sdk.get_current_scope().transaction
    if transaction is not None and transaction.name == TASK:
        transaction.sampled = False


@contextmanager
def _queue_span(job: Any) -> Iterator[None]:
    with sentry_sdk.start_span(op="queue.process", name=job.queue_name, origin=ORIGIN) as span:
        span.set_data("messaging.system", SYSTEM)
        span.set_data("messaging.destination.name", job.queue_name)
        span.set_data("messaging.message.id", job.id)
        span.set_data("messaging.message.retry.count", job.attempts_made)
        with suppress(KeyError, ValueError):
            span.set_data("messaging.message.receive.latency", time.time() * 1000 - int(job.headers[_SENT]))
        yield


def _is_last(job: Any, error: BaseException) -> bool:
    final = isinstance(error, UnrecoverableError) or (isinstance(error, SandboxFailure) and error.final)
    return final or job.attempts_made + 1 >= job.opts["attempts"]


def _capture(error: BaseException) -> None:
    client = sentry_sdk.get_client()
    mechanism = {"type": "stratix_kombu", "handled": False}
    if isinstance(error, SandboxFailure):
        name, _, text = error.reason.partition(": ")
        value = {"type": name if text else "SandboxFailure", "value": text or error.reason, "mechanism": mechanism}
        frames = list(_frames(error.stacktrace))
        sentry_sdk.capture_event(
            {
                "level": "error",
                "exception": {"values": [{**value, **({"stacktrace": {"frames": frames}} if frames else {})}]},
            }
        )
        return
    event, hint = event_from_exception(error, client_options=client.options, mechanism=mechanism)
    sentry_sdk.capture_event(event, hint=hint)


def _frames(stacktrace: str) -> Iterator[dict[str, Any]]:
    """Of a traceback as it was kept as text: it is that of another process."""
    for text in json.loads(stacktrace or "[]"):
        for path, line, function, source in _FRAME.findall(text):
            filename = path.rpartition("/")[2]
            yield {
                "abs_path": path,
                "filename": filename,
                "lineno": int(line),
                "function": function,
                "context_line": source,
                "in_app": "site-packages" not in path,
            }


def _config(one: Any) -> dict[str, Any] | None:
    if one.cron and len(one.cron.split()) == 5:
        return {"schedule": {"type": "crontab", "value": one.cron}, "timezone": one.timezone or "UTC"}
    minutes = round(one.every / 60_000) if one.every else 0
    return {"schedule": {"type": "interval", "value": minutes, "unit": "minute"}} if minutes else None
