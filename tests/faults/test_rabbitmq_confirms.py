"""RabbitMQ's word on what was published comes later than the answer to who added a job: what it refuses, and what is
lost with a connection, is sent again; nothing is lost if the process does not live to do so."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import amqp
import pytest
from kombu import Connection

from stratix_kombu import DriverUnavailable, create_app
from stratix_kombu.drivers import outbox
from stratix_kombu.drivers.rabbitmq import driver
from stratix_kombu.drivers.rabbitmq.wire import permit_frames
from stratix_kombu.model.message import BODY
from stratix_kombu.model.record import Ready
from stratix_kombu.testing.drivers import ready, take
from stratix_kombu.testing.forking import together
from tests.faults.sender import REPLY_S, Sender
from tests.waiting import WAIT_S, until


@pytest.fixture
def sender(amqp_url: str) -> Iterator[Sender]:
    made = Sender(amqp_url)
    yield made
    made.close()


@pytest.fixture
def channel(amqp_url: str) -> Iterator[Any]:
    with Connection(amqp_url) as connection:
        yield connection.channel()


def received(sender: Sender, count: int) -> set[str | None]:
    receiver = sender.watcher.receiver("q", 10)
    try:
        return {one.job_id for one in take(receiver, count)}
    finally:
        receiver.close()


def test_a_thousand_adds_in_a_row(amqp_url: str, redis_url: str) -> None:
    settings = {
        "driver": "rabbitmq",
        "rabbitmq": {"url": amqp_url},
        "store": redis_url,
        "namespace": f"conf{uuid.uuid4().hex[:8]}",
    }
    with create_app(settings) as app:
        queue = app.queue.create_queue("q", concurrency=20)
        jobs = [queue.add("n", number) for number in range(1000)]
        until(lambda: app.queue.engine.driver.depth("q") == 1000, WAIT_S)
        queue.process(lambda job: job.data)
        app.start()
        assert jobs[-1].wait_until_finished(60) == 999
        until(lambda: queue.get_job_counts()["completed"] == 1000, WAIT_S)
        assert dict(app.queue.engine.faults) == {}


def test_what_is_refused_is_sent_again(sender: Sender, channel: Any) -> None:
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    channel.queue_declare(queue=f"{sender.namespace}.q", durable=True, auto_delete=False, arguments=arguments)
    jobs = ready("q", 3)
    for job in jobs:
        assert sender.submit(job) is False
    until(lambda: sender.reported, WAIT_S)
    queue, problem = sender.reported[0]
    assert queue == "q"
    assert isinstance(problem, DriverUnavailable)
    assert "refused" in str(problem)
    assert received(sender, 3) == {job.id for job in jobs}
    until(lambda: sender.reported[-1] == ("q", None), WAIT_S)
    assert len(sender.reported) == 2, "one report for one cause"


def test_what_is_lost_with_a_connection_is_sent_again(sender: Sender) -> None:
    sender.driver.publish(ready("q", 1))
    sender.proxy.freeze()
    jobs = ready("q", 5)
    sender.submit(*jobs)
    sender.proxy.cut_all()
    sender.proxy.thaw()
    until(lambda: sender.depth() == 6, WAIT_S)
    assert received(sender, 6) >= {job.id for job in jobs}
    assert sender.reported == []


def test_a_broker_that_says_nothing_is_left_for_another_connection(sender: Sender) -> None:
    sender.driver.publish(ready("q", 1))
    sender.proxy.swallow()
    sender.submit(*ready("q", 2))
    until(lambda: sender.depth() == 3, WAIT_S)


def test_what_finds_no_queue_is_sent_again_to_a_new_one(sender: Sender, channel: Any) -> None:
    sender.submit(*ready("q", 1))
    until(lambda: sender.depth() == 1, WAIT_S)
    channel.queue_delete(f"{sender.namespace}.q")
    jobs = ready("q", 3)
    sender.submit(*jobs)
    until(lambda: any(problem is None for _, problem in sender.reported), WAIT_S)
    assert received(sender, 3) == {job.id for job in jobs}


def test_an_outage_is_reported_and_what_was_sent_before_it_is_sent_again(sender: Sender) -> None:
    sender.driver.publish(ready("q", 1))
    sender.proxy.freeze()
    sender.submit(*ready("q", 2))
    sender.proxy.refuse()
    sender.proxy.thaw()
    until(lambda: sender.reported, WAIT_S)
    with pytest.raises(DriverUnavailable):
        sender.submit(*ready("q", 1))
    sender.proxy.accept()
    until(lambda: sender.depth() == 3, WAIT_S)
    until(lambda: sender.reported[-1] == ("q", None), WAIT_S)


def test_not_without_a_bound(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher of more messages waits for the broker, and gets an error if that is silent."""
    monkeypatch.setattr(driver, "WINDOW", 10)
    monkeypatch.setattr(outbox, "MOST_AGAIN", 10)
    sender.driver.publish(ready("q", 1))
    sender.proxy.freeze()
    for job in ready("q", 10):
        sender.submit(job)
    with pytest.raises(DriverUnavailable):
        sender.submit(*ready("q", 1))
    until(lambda: sender.driver._outbox.is_full, WAIT_S)
    assert len(sender.driver._outbox._again) == 10
    sender.proxy.cut_all()
    sender.proxy.thaw()
    until(lambda: sender.depth() == 11, WAIT_S)


def test_closing_waits_for_the_brokers_word(sender: Sender) -> None:
    for job in ready("q", 300):
        sender.submit(job)
    thread = sender.driver._outbox._thread
    assert thread is not None
    sender.driver.close()
    assert sender.driver.open_count() == 0
    assert sender.depth() == 300
    until(lambda: not thread.is_alive(), WAIT_S)


def test_closing_begins_no_thread(sender: Sender, channel: Any) -> None:
    """What is refused, and what is lost with a connection, while the driver is closed."""
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    channel.queue_declare(queue=f"{sender.namespace}.q", durable=True, auto_delete=False, arguments=arguments)
    sender.submit(*ready("q", 3))
    sender.driver.close()
    sender.driver._outbox.lost(ready("q", 1))
    assert sender.driver._outbox._thread is None


def test_closing_does_not_wait_for_ever(sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    sender.driver.publish(ready("q", 1))
    sender.proxy.freeze()
    sender.submit(*ready("q", 2))
    closing = threading.Thread(target=sender.driver.close)
    closing.start()
    closing.join(20 * REPLY_S)
    assert not closing.is_alive()
    assert "2 messages were not confirmed" in caplog.text


ADDS = """
import json, os, sys
from stratix_kombu import create_app
app = create_app(json.loads(sys.argv[1]))
queue = app.queue.get_queue("q")
queue.add("n", 0)
if sys.argv[2] == "dies":
    print("connected", flush=True)
    sys.stdin.readline()
for number in range(1, 200):
    queue.add("n", number)
if sys.argv[2] == "dies":
    print("added", flush=True)
    sys.stdin.readline()
"""


def settings_of(url: str, redis_url: str) -> dict[str, Any]:
    return {
        "driver": "rabbitmq",
        "rabbitmq": {"url": url, "command_timeout": 20_000},
        "store": redis_url,
        "namespace": f"conf{uuid.uuid4().hex[:8]}",
        "worker": {"redelivery_grace": 1000},
    }


def test_a_process_that_ends_without_closing_has_sent_all(amqp_url: str, redis_url: str) -> None:
    settings = settings_of(amqp_url, redis_url)
    subprocess.run([sys.executable, "-c", ADDS, json.dumps(settings), "ends"], check=True, timeout=60)
    with create_app(settings) as app:
        assert app.queue.engine.driver.depth("q") == 200


def test_a_process_that_is_killed_has_lost_no_job(sender: Sender, amqp_url: str, redis_url: str) -> None:
    """Its messages have not reached the broker."""
    settings = settings_of(sender.proxy.url, redis_url)
    with create_app({**settings, "rabbitmq": {"url": amqp_url}}) as app:
        queue = app.queue.create_queue("q", concurrency=10)
        command = [sys.executable, "-c", ADDS, json.dumps(settings), "dies"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "connected\n"
        until(lambda: app.queue.engine.driver.depth("q") == 1, WAIT_S)
        sender.proxy.freeze()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "added\n"
        process.kill()
        process.communicate()
        sender.proxy.cut_all()
        assert app.queue.engine.driver.depth("q") == 1
        assert app.queue.engine.driver.purge("q") == 1
        queue.process(lambda job: job.data)
        app.start()
        until(lambda: queue.get_job_counts()["completed"] == 200, 60)


def test_a_child_does_not_send_what_is_its_parents(sender: Sender) -> None:
    sender.driver.publish(ready("q", 1))
    sender.proxy.freeze()
    sender.submit(*ready("q", 3))
    sender.proxy.cut_all()
    sender.proxy.thaw()

    def work(me: str) -> list[str]:
        if me != "parent":
            assert sender.driver.open_count() == 0
            job = ready("q", 1)[0]
            sender.submit(job)
            sender.driver.close()
            return [job.id]
        return []

    together(2, work)
    until(lambda: sender.depth() == 6, WAIT_S)
    time.sleep(2 * outbox.LOOK_S)
    assert sender.depth() == 6


def test_permits_are_read_as_py_amqp_reads_them(sender: Sender, channel: Any) -> None:
    """All that were sent, whatever is between them, and however the bytes are cut."""
    queue = f"{sender.namespace}.q"
    sender.driver.declare("q")
    sent = [
        Ready("a", "q", "n"),
        Ready("b", "q"),
        Ready("", "q", "n"),
        Ready("no id", "q"),
        Ready("c" * 100, "q", "x" * 200),
        Ready("id" * 9, "q", "id"),
        *ready("q", 300),
    ]
    for number, job in enumerate(sent):
        sender.driver.publish([job])
        if number % 7 == 0:
            channel.basic_publish(amqp.Message("other", content_type="text/plain"), "", queue)
        if number % 11 == 0:
            channel.basic_publish(
                amqp.Message(BODY, application_headers={"task": "stratix.job", "id": "own"}), "", queue
            )
    others, own = len(range(0, len(sent), 7)), len(range(0, len(sent), 11))
    receiver = sender.watcher.receiver("q", 50)
    taken = take(receiver, len(sent) + others + own, limit=50)
    receiver.close()
    assert sum(1 for one in taken if one.job_id == "own") == own
    assert sum(1 for one in taken if one.job_id is None and one.problem) == others + 1
    named = [one.job_id for one in taken if one.job_id not in (None, "own")]
    assert len(named) == len(sent) - 1
    assert set(named) >= {job.id for job in sent if job.id not in ("", "no id")}
    until(lambda: sender.depth() == 0, WAIT_S)


@pytest.mark.parametrize("name", ["n", "ein Bär", "x" * 200])
def test_a_permit_is_a_message_like_any_other(amqp_url: str, name: str) -> None:
    with Connection(amqp_url) as connection:
        channel = connection.channel()
        queue = channel.queue_declare(exclusive=True).queue
        permits = [uuid.uuid4().hex, "a", "42", "x" * 100]
        for permit in permits:
            connection.connection.transport.write(permit_frames(permit, channel.channel_id, queue, name))
        for permit in permits:
            message: amqp.Message = channel.basic_get(queue)
            assert message.properties == {
                "content_type": "application/json",
                "content_encoding": "utf-8",
                "application_headers": {
                    "lang": "py",
                    "task": "stratix.job",
                    "shadow": f"stratix.job ({name})",
                    "id": permit,
                },
                "delivery_mode": 2,
            }
            assert message.body == "[[],{},{}]"
