"""A Celery project that has Sentry, whose worker also runs jobs of a queue: what is sent is printed, an item a line.
Run by itself it adds the jobs."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import sentry_sdk
from celery import Celery
from sentry_sdk.integrations.celery import CeleryIntegration

from stratix_kombu import JobFailed
from stratix_kombu.celery import install
from stratix_kombu.integrations.sentry import instrument
from tests.integrations.sentry_program import Printing

sentry_sdk.init(
    dsn="http://key@localhost/1",
    transport=Printing,
    traces_sample_rate=1.0,
    auto_enabling_integrations=False,
    integrations=[CeleryIntegration()],
)
celery = Celery("sentry", broker=os.environ["SENTRY_TEST_BROKER"])
celery.conf.task_default_queue = os.environ["SENTRY_TEST_QUEUE"]
app = install(celery, namespace=os.environ["SENTRY_TEST_QUEUE"])
instrument(app)
queue = app.queue.get_queue(celery.conf.task_default_queue)


@celery.task(name="double")
def double(number: int) -> int:
    return 2 * number


@queue.process("good")
def good(job: Any) -> str:
    return str(double.delay(2).id)


@queue.process("bad")
def bad(job: Any) -> None:
    raise ConnectionError("no server")


def main() -> None:
    with sentry_sdk.start_transaction(name="request"):
        jobs = [queue.add("good"), queue.add("bad")]
    with suppress(JobFailed):
        double.AsyncResult(jobs[0].wait_until_finished(30)).get(timeout=30)
        jobs[1].wait_until_finished(30)


if __name__ == "__main__":
    main()
