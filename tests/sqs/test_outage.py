"""SQS away altogether: nothing is lost, nobody spins, nothing secret is logged."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Any

import pytest

from stratix_kombu import DriverUnavailable, create_app
from stratix_kombu.drivers.sqs import SQSDriver
from stratix_kombu.testing.drivers import ready
from tests.sqs.conftest import CREDENTIALS
from tests.sqs.front import Front
from tests.waiting import until

TOKEN = "t0ken-word"


def test_a_call_is_tried_three_times_and_no_more(front: Front, make: Callable[..., SQSDriver]) -> None:
    driver = make()
    driver.publish(ready("mail", 1))
    front.fault = lambda request: (500, "InternalFailure")
    with pytest.raises(DriverUnavailable, match="InternalFailure"):
        driver.publish(ready("mail", 1))
    assert front.calls["SendMessageBatch"] == 1 + 3


@pytest.mark.parametrize("queue", ["mail", "mail.fifo"])
def test_of_a_large_bulk_only_the_call_that_failed_is_made_again(
    front: Front, make: Callable[..., SQSDriver], queue: str
) -> None:
    driver, calls = make(), itertools.count(1)
    front.fault = lambda request: (
        (503, "ServiceUnavailable") if request.action == "SendMessageBatch" and next(calls) == 7 else None
    )
    driver.publish(ready(queue, 95))
    assert front.calls["SendMessageBatch"] == 10 + 1
    assert driver.depth(queue) == 95


@pytest.mark.parametrize(
    "fault", [(500, "InternalFailure"), (400, "RequestThrottled"), (403, "ExpiredToken")], ids=lambda fault: fault[1]
)
def test_jobs_wait_in_the_store_until_sqs_is_back(
    front: Front, settings: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture, fault: tuple[int, str]
) -> None:
    aws = {"region": "us-east-1", "credentials": {**CREDENTIALS, "session_token": TOKEN}}
    with caplog.at_level(logging.DEBUG, "stratix_kombu"), create_app(settings(aws=aws, wait_time_seconds=1)) as app:
        app.start()
        queue, errors = app.queue.create_queue("mail", concurrency=4), list[BaseException]()
        queue.on("error", errors.append)
        queue.process(lambda job: job.data)
        assert queue.add("n", "before").wait_until_finished(timeout=20) == "before"
        front.fault = lambda request: fault
        jobs = [queue.add("n", number) for number in range(3)]
        faults = app.queue.engine.faults
        until(lambda: faults["consume_failed"] >= 2 and faults["dispatch_failed"] >= 3, 60)
        assert faults["consume_failed"] <= 20  # it waits longer from one try to the next
        assert queue.get_job_counts()["waiting"] == 3
        assert app.queue.check_health()["driver"] is False
        front.fault = lambda request: None
        assert [job.wait_until_finished(timeout=30) for job in jobs] == [0, 1, 2]
    heard = caplog.text + "".join(map(str, errors))
    assert fault[1] in heard
    assert "x-amz-security-token:***" in heard
    assert not any(secret in heard for secret in (TOKEN, *CREDENTIALS.values()))
