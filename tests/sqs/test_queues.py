"""Queues that are created, FIFO and fair queues, and SQS's own dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stratix_kombu import ConfigurationError, create_app
from stratix_kombu.drivers.registry import create_driver
from stratix_kombu.drivers.sqs import SQSDriver
from stratix_kombu.model.record import Ready
from stratix_kombu.testing.drivers import ready, take
from tests.sqs.front import Front
from tests.waiting import WAIT_S, until

Settings = Callable[..., dict[str, Any]]
Make = Callable[..., SQSDriver]


def _sent(front: Front) -> list[dict[str, Any]]:
    return [entry for one in front.requests if one.action == "SendMessageBatch" for entry in one.json["Entries"]]


def _attributes(admin: Any, name: str) -> dict[str, str]:
    url = admin.get_queue_url(QueueName=name)["QueueUrl"]
    found: dict[str, str] = admin.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return found


def _messages(admin: Any, name: str) -> int:
    """Those that wait, and those that somebody has."""
    found = _attributes(admin, name)
    return int(found["ApproximateNumberOfMessages"]) + int(found["ApproximateNumberOfMessagesNotVisible"])


def test_what_a_new_queue_is_created_with(make: Make, namespace: str, admin: Any, front: Front) -> None:
    driver = make(
        visibility_timeout=30,
        tags={"team": "mail"},
        redrive={"queue": "dead", "maxReceiveCount": 5},
        creation_attributes={
            "kms_master_key_id": "alias/mine",
            "MessageRetentionPeriod": 3600,
            "FifoThroughputLimit": "perMessageGroupId",
        },
    )
    driver.publish([*ready("mail", 1, 9), *ready("orders.fifo", 1)])
    mail, orders = (_attributes(admin, f"{namespace}-{name}") for name in ("mail", "orders.fifo"))
    assert (mail["KmsMasterKeyId"], mail["MessageRetentionPeriod"], mail["VisibilityTimeout"]) == (
        "alias/mine",
        "3600",
        "30",
    )
    policy = json.loads(mail["RedrivePolicy"])
    assert (policy["deadLetterTargetArn"].rpartition(":")[2], policy["maxReceiveCount"]) == (f"{namespace}-dead", 5)
    assert json.loads(orders["RedrivePolicy"])["deadLetterTargetArn"].endswith(f"{namespace}-dead.fifo")
    assert orders["FifoQueue"] == "true"
    created = [one.json for one in front.requests if one.action == "CreateQueue"]
    limits = {one["QueueName"].endswith(".fifo"): "FifoThroughputLimit" in one["Attributes"] for one in created}
    assert limits == {True: True, False: False}
    url = admin.get_queue_url(QueueName=f"{namespace}-mail")["QueueUrl"]
    assert admin.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "mail"}


def test_a_queue_that_was_deleted_is_created_again(make: Make, namespace: str, admin: Any) -> None:
    driver = make()
    driver.publish(ready("mail", 1))
    admin.delete_queue(QueueUrl=admin.get_queue_url(QueueName=f"{namespace}-mail")["QueueUrl"])
    driver.publish(ready("mail", 1))
    assert driver.depth("mail") == 1


def test_a_fifo_queue_keeps_the_order_within_a_group(settings: Settings, front: Front) -> None:
    order: list[Any] = []
    with create_app(settings()) as app:
        app.start()
        queue = app.queue.create_queue("orders.fifo", concurrency=1)
        jobs = queue.add_bulk([{"name": "n", "data": n, "opts": {"group": f"g{n % 2}"}} for n in range(8)])
        queue.add("alone", -1)
        queue.process(lambda job: order.append(job.data))
        until(lambda: len(order) == 9, WAIT_S)
        assert [one for one in order if one % 2 == 0] == [0, 2, 4, 6]
        assert [one for one in order if one >= 0 and one % 2] == [1, 3, 5, 7]
        assert (jobs[0].data, jobs[0].is_task, jobs[0].opts["group"]) == (0, False, "g0")
        again = queue.get_job(jobs[1].id)
        assert again is not None
        assert (again.data, again.is_task) == (1, False)
    entries = _sent(front)
    assert {one["MessageGroupId"] for one in entries[:8]} == {"g0", "g1"}
    assert len({one["MessageDeduplicationId"] for one in entries}) == 9


def test_the_next_of_a_group_may_begin_when_one_has_begun(make: Make) -> None:
    driver = make()
    jobs = ready("orders.fifo", 2)
    driver.publish([replace(job, group="g") for job in jobs])
    first, second = driver.receiver("orders.fifo", 1), driver.receiver("orders.fifo", 1)
    taken = first.receive(1, 5)
    assert [one.job_id for one in taken] == [jobs[0].id]
    assert second.receive(1, 0.4) == []
    first.acknowledge(taken)
    assert [one.job_id for one in second.receive(1, 5)] == [jobs[1].id]
    first.close()
    second.close()


def test_a_job_that_is_sent_again_is_no_duplicate_to_a_fifo_queue(make: Make) -> None:
    driver = make()
    (job,) = ready("orders.fifo", 1)
    driver.publish([job])
    receiver = driver.receiver("orders.fifo", 1)
    assert [one.job_id for one in receiver.receive(1, 5)] == [job.id]  # and its worker dies
    driver.publish([job])
    assert driver.depth("orders.fifo") == 1
    properties = {"MessageDeduplicationId": "of-the-task", "delivery_info": {"routing_key": "orders.fifo"}}
    message = {"body": "W10=", "headers": {"id": "t"}, "content-type": "x", "properties": properties}
    for _ in range(2):
        driver.publish([Ready("t", "orders.fifo", "task", message=json.dumps(message))])
    assert driver.depth("orders.fifo") == 3
    receiver.close()


def test_groups_on_a_standard_queue_and_where_there_are_none(settings: Settings, front: Front) -> None:
    with create_app(settings()) as app, create_app({"namespace": "other"}) as plain:
        app.start()
        plain.start()
        app.queue.get_queue("mail").add("n", group="tenant-1")
        app.queue.get_queue("mail").add("n")
        job = plain.queue.get_queue("mail").add("n", {"some": "data"}, group="tenant-1")
        plain.queue.get_queue("mail").process(lambda job: job.data)
        assert job.wait_until_finished(timeout=10) == {"some": "data"}
        with pytest.raises(ConfigurationError, match="cannot name a group"):
            app.queue.get_queue("mail").add("n", group="tenant 1")
    assert [one.get("MessageGroupId") for one in _sent(front)] == ["tenant-1", None]


def test_a_message_that_sqs_moved_away_is_no_lost_job(settings: Settings, admin: Any, namespace: str) -> None:
    with create_app(settings(visibility_timeout=1, redrive={"queue": "dead", "max_receive_count": 1})) as app:
        app.start()
        queue = app.queue.create_queue("mail")
        job = queue.add("n", "here")
        url = admin.get_queue_url(QueueName=f"{namespace}-mail")["QueueUrl"]
        dead = admin.get_queue_url(QueueName=f"{namespace}-dead")["QueueUrl"]
        assert admin.receive_message(QueueUrl=url)["Messages"]  # a worker that dies before it has claimed the job

        def moved() -> bool:
            admin.receive_message(QueueUrl=url)
            return _messages(admin, f"{namespace}-dead") == 1

        until(moved, WAIT_S)
        queue.process(lambda job: job.data)
        assert job.wait_until_finished(timeout=20) == "here"
        (letter,) = admin.receive_message(QueueUrl=dead)["Messages"]
        admin.send_message(QueueUrl=url, MessageBody=letter["Body"])  # somebody redrives it in the console
        until(lambda: app.queue.engine.driver.depth("mail") == 0, WAIT_S)
        assert queue.get_job_counts()["completed"] == 1


@pytest.mark.parametrize("redrive", [None, {"queue": "dead", "max_receive_count": 2}])
def test_what_no_worker_can_read(settings: Settings, admin: Any, namespace: str, redrive: Any) -> None:
    options = {"visibility_timeout": 1, "wait_time_seconds": 1, **({"redrive": redrive} if redrive else {})}
    with create_app(settings(**options)) as app:
        app.start()
        queue, errors = app.queue.create_queue("mail"), list[BaseException]()
        queue.on("error", errors.append)
        job = queue.add("n")
        url = admin.get_queue_url(QueueName=f"{namespace}-mail")["QueueUrl"]
        admin.send_message(QueueUrl=url, MessageBody="no message of ours")
        queue.process(lambda job: "done")
        assert job.wait_until_finished(timeout=20) == "done"
        until(lambda: any("a message that is not a permit was dropped" in str(error) for error in errors), WAIT_S)
        if redrive:
            until(lambda: _messages(admin, f"{namespace}-dead") == 1, WAIT_S)
        until(lambda: _messages(admin, f"{namespace}-mail") == 0, WAIT_S)


def test_a_message_that_is_too_large_holds_up_no_other(make: Make) -> None:
    driver = make()
    large = Ready("large", "mail", "n", message=json.dumps({"body": "x" * 1024**2, "properties": {}}))
    (job,) = ready("mail", 1)
    with pytest.raises(ConnectionError, match="1 messages are larger"):
        driver.publish([large, job])
    receiver = driver.receiver("mail", 5)
    assert [one.job_id for one in take(receiver, 1)] == [job.id]
    receiver.close()


def test_names_in_sqs(make: Make) -> None:
    driver = make()
    driver.create_queue("mail.out", {})
    with pytest.raises(ConfigurationError, match=r"'mail-out' and 'mail\.out' are both"):
        driver.create_queue("mail-out", {})
    with pytest.raises(ConfigurationError, match="longer than SQS's 80"):
        make(queue_name_prefix="p" * 30).create_queue("q" * 51, {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wait_time_second": 5}, "wait_time_seconds"),
        ({"wait_time_seconds": 21}, "from 1 to 20"),
        ({"wait_time_seconds": 0}, "from 1 to 20"),
        ({"visibility_timeout": 0}, "visibility_timeout"),
        ({"priorities": "yes"}, "True or False"),
        ({"aws": {"regoin": "eu-west-1"}}, "region"),
        ({"aws": {"credentials": {"accessKeyId": "x"}}}, "secret_access_key"),
        ({"aws": "eu-west-1"}, "mapping"),
        ({"endpoint_url": "localhost:4566"}, "https://host:port"),
        ({"role_to_assume": "worker"}, "ARN"),
        ({"role_to_assume": {"arn": "arn:aws:iam::123456789012:role/r", "externalid": "x"}}, "external_id"),
        ({"creation_attributes": {"kmsMasterKeyIdd": "x"}}, "KmsMasterKeyId"),
        ({"redrive": {"queue": "dead", "max_receive_count": 0}}, "max_receive_count"),
        ({"redrive": {"que": "dead"}}, "queue"),
        ({"redrive": "no such:queue"}, "name a queue"),
        ({"predefined_queues": {"mail": "mail"}}, "url"),
        ({"predefined_queues": {"mail": "https://sqs.eu-west-1.amazonaws.com/1/mail.fifo"}}, r"\.fifo"),
        ({"predefined_queues": {"mail": {"uri": "x"}}}, "url"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_driver("sqs", options, namespace="x")
