"""AWS Lambda as a host: messages of an SQS event source run jobs, a scheduled rule is the clock.

>>> from stratix_kombu.integrations.aws_lambda import handler_of
>>> handler = handler_of(app)  # what the function's configuration names  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from stratix_kombu.application import Application
from stratix_kombu.drivers.sqs import SQSDriver
from stratix_kombu.drivers.sqs.messages import delivery_of
from stratix_kombu.errors import ConfigurationError, Unavailable
from stratix_kombu.once import LEASE_S, OneAfterAnother, tick

if TYPE_CHECKING:
    from stratix_kombu.queue.queue import Queue

logger = logging.getLogger("stratix_kombu.aws_lambda")

SPARE_S = 2.0
"""The remaining time of the function below which no further job starts: time to store the last outcome."""


def handler_of(app: Application) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """One function for both: it runs the jobs of an SQS event, and treats any other event, such as that of a schedule,
    as a tick of the clock.

    >>> handler = handler_of(app)  # doctest: +SKIP
    """

    def handler(event: Mapping[str, Any], context: Any = None) -> dict[str, Any]:
        if "Records" in event:
            return run_messages(app, event, context)
        return {"ticked": tick(app)}

    return handler


def run_messages(app: Application, event: Mapping[str, Any], context: Any = None) -> dict[str, Any]:
    """Run a job for each message of an SQS event; the answer is a partial batch response: SQS keeps the messages that
    it names. The event source needs ``ReportBatchItemFailures``.

    It names those that were not processed: there was no time left, the store was unreachable, or the message is not a
    permit. What becomes of a job, a failure and its retries too, is in the store, and its message is done. A job has
    the time that is left of the function (``context``), as its lease; then others may have it. Jobs run one after the
    other.

    Raises ConfigurationError for a driver that is not SQS, and for messages of a queue that has no handler here.

    >>> run_messages(app, event, context)  # doctest: +SKIP
    {'batchItemFailures': []}
    """
    queues = _queues(app)
    left = getattr(context, "get_remaining_time_in_millis", lambda: LEASE_S * 1000)
    host = OneAfterAnother(app, LEASE_S)
    failures: list[str] = []
    try:
        for record in event["Records"]:
            if not _run(host, queues, record, left() / 1000):
                failures.append(record["messageId"])
    finally:
        host.close()
    return {"batchItemFailures": [{"itemIdentifier": one} for one in failures]}


def _queues(app: Application) -> dict[str, Queue]:
    """Those with a handler, by their name in SQS."""
    driver = app.queue.engine.driver
    if not isinstance(driver, SQSDriver):
        raise ConfigurationError(f"run_messages is for the driver 'sqs', not {driver.get_name()!r}")
    return {driver.queues.name(one.name): one for one in app.queue.get_all_queues() if one.handler_names}


def _run(host: OneAfterAnother, queues: Mapping[str, Queue], record: Mapping[str, Any], left_s: float) -> bool:
    """Whether the message is done."""
    name = str(record["eventSourceARN"]).rpartition(":")[2]
    queue = queues.get(name)
    if queue is None:
        known = ", ".join(sorted(queues)) or "none"
        raise ConfigurationError(f"no queue of this application with a handler is {name!r} in SQS; known: {known}")
    permit = delivery_of({"ReceiptHandle": record["receiptHandle"], "Body": record["body"]}, 0)
    if permit.job_id is None:
        logger.warning("message %s of %s is left to SQS: %s", record["messageId"], name, permit.problem)
        return False
    if left_s < SPARE_S:
        return False
    try:
        host.one(queue, left_s)
    except Unavailable as problem:
        logger.warning("message %s of %s comes again: %s", record["messageId"], name, problem)
        return False
    return True
