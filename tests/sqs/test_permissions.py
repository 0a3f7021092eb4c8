"""The least that an application needs to be allowed, with queues that somebody else has created."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from stratix_kombu import ConfigurationError, DriverUnavailable, create_app
from stratix_kombu.drivers.sqs import SQSDriver
from stratix_kombu.testing.drivers import ready, take
from tests.sqs.front import Front

Settings = Callable[..., dict[str, Any]]
Make = Callable[..., SQSDriver]

FORBIDDEN = {
    "ListQueues",
    "CreateQueue",
    "GetQueueUrl",
    "GetQueueAttributes",
    "SetQueueAttributes",
    "DeleteQueue",
    "TagQueue",
}
NEEDED = {"SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "PurgeQueue"}
"""Its permissions are SendMessage, ReceiveMessage, DeleteMessage, ChangeMessageVisibility and PurgeQueue."""


def test_the_whole_path_with_a_small_policy(front: Front, settings: Settings, namespace: str, admin: Any) -> None:
    urls = {name: admin.create_queue(QueueName=f"{namespace}-{name}")["QueueUrl"] for name in ("mail", "mail-p6")}
    front.denied = FORBIDDEN
    options = {**settings(predefined_queues=urls, wait_time_seconds=1)}
    options["worker"] = {**options["worker"], "redelivery_grace": 300}
    with create_app(options) as app:
        app.start()
        queue, errors = app.queue.create_queue("mail", concurrency=5), list[BaseException]()
        queue.on("error", errors.append)
        driver = app.queue.engine.driver
        lost = queue.add("lost")
        driver.purge("mail")
        assert driver.depth("mail") is None
        assert app.queue.check_health()["driver"] is True
        jobs = [queue.add("n", priority=priority) for priority in (0, 7, 4)]
        queue.process(lambda job: job.name)
        assert [job.wait_until_finished(timeout=30) for job in jobs] == ["n"] * 3
        assert lost.wait_until_finished(timeout=30) == "lost"
        assert errors == []
    asked = {action for action in front.calls if action not in NEEDED}
    assert asked == {"GetQueueAttributes"}  # for its depth and health, and it does not matter that it is refused


def test_a_queue_of_an_earlier_version_is_taken_from_if_it_is_predefined(
    make: Make, namespace: str, admin: Any, front: Front
) -> None:
    urls = {name: admin.create_queue(QueueName=f"{namespace}-{name}")["QueueUrl"] for name in ("mail", "mail-p9")}
    make(predefined_queues={"mail": urls["mail-p9"]}).publish(ready("mail", 1, 9))
    driver = make(predefined_queues=urls)
    driver.publish([*ready("mail", 1, 9), *ready("mail", 1)])
    receiver = driver.receiver("mail", 5)
    assert len(take(receiver, 3)) == 3
    receiver.close()
    assert front.calls["GetQueueUrl"] == 0


def test_a_queue_that_is_not_predefined(make: Make, front: Front) -> None:
    driver = make(predefined_queues={"mail": f"{front.url}/123456789012/mail"})
    with pytest.raises(ConfigurationError, match=r"not in 'predefined_queues'; did you mean '\w+-mail'"):
        driver.create_queue("mial", {})
    with pytest.raises(DriverUnavailable, match="not in 'predefined_queues'"):
        driver.publish(ready("mial", 1))


def test_what_is_refused_is_reported(make: Make, front: Front) -> None:
    front.denied = {"CreateQueue"}
    with pytest.raises(DriverUnavailable, match=r"AccessDenied.*CreateQueue"):
        make().publish(ready("mail", 1))


def test_a_predefined_queue_that_does_not_exist_is_named(make: Make, sqs_url: str) -> None:
    url = f"{sqs_url}/123456789012/not-there"
    driver = make(predefined_queues={"mail": url})
    named = re.escape(f"there is no queue {url}, which 'predefined_queues' names for 'mail'")
    with pytest.raises(DriverUnavailable, match=named):
        driver.publish(ready("mail", 1))
    with pytest.raises(DriverUnavailable, match=named):
        driver.receiver("mail", 1).receive(1, 1.0)
