"""What RabbitMQ says while it is sent messages: py-amqp reads it before each message of a task."""

from __future__ import annotations

import json
import select
import threading
import time
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from stratix_kombu.drivers import outbox
from stratix_kombu.drivers.rabbitmq import confirms, driver
from stratix_kombu.errors import DriverUnavailable
from stratix_kombu.model.record import Ready
from tests.faults.sender import Sender
from tests.waiting import WAIT_S, until


def task(queue: str) -> Ready:
    """The message of a task, which py-amqp sends."""
    job_id = str(uuid.uuid4())
    message = {
        "body": "[[], {}, {}]",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"id": job_id, "task": "t"},
        "properties": {"delivery_mode": 2},
    }
    return Ready(job_id, queue, "t", message=json.dumps(message))


@pytest.fixture
def patient(amqp_url: str) -> Iterator[Sender]:
    made = Sender(amqp_url, reply_s=20.0)
    yield made
    made.close()


@pytest.fixture
def slow(patient: Sender, monkeypatch: pytest.MonkeyPatch) -> Sender:
    """The broker's word on a message is there before the next one is sent."""
    publish, sent = patient.driver.publish_message, list[str]()

    def send(link: Any, job: Ready, **properties: Any) -> None:
        if sent:
            assert select.select([link.socket], [], [], WAIT_S)[0]
        sent.append(job.id)
        publish(link, job, **properties)

    monkeypatch.setattr(patient.driver, "publish_message", send)
    return patient


def test_what_is_confirmed_before_the_next_one_is_sent_comes_once(slow: Sender) -> None:
    jobs = [task("q") for _ in range(3)]
    slow.submit(*jobs)
    slow.driver.look_at_open(wait=True)
    assert slow.driver.open_count() == 0
    until(lambda: slow.depth() == 3, WAIT_S)
    slow.driver.close()
    assert slow.depth() == 3
    assert slow.reported == []


def test_the_broker_is_not_silent_while_it_is_sent_something(patient: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that takes: a long message over a slow network."""
    publish, late = patient.driver.publish_message, 0.0

    def send(link: Any, job: Ready, **properties: Any) -> None:
        nonlocal late
        patient.proxy.freeze()
        publish(link, job, **properties)
        late += 100.0
        threading.Timer(0.1, patient.proxy.thaw).start()

    monkeypatch.setattr(patient.driver, "publish_message", send)
    monkeypatch.setattr(confirms, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + late))
    patient.driver.publish([task("q")])
    assert patient.depth() == 1


def test_what_finds_no_queue_before_the_next_one_is_sent_is_sent_again(slow: Sender) -> None:
    slow.driver.declare("q")
    name = slow.driver.broker_queue("q")
    slow.watcher.attempt(lambda link: link.channel.queue_delete(name))
    jobs = [task("q") for _ in range(3)]
    slow.submit(*jobs)
    until(lambda: slow.depth() == 3, WAIT_S)
    until(lambda: slow.reported[-1] == ("q", None), WAIT_S)
    ids = [slow.watcher.attempt(lambda link: link.channel.basic_get(name, no_ack=True).headers["id"]) for _ in jobs]
    assert sorted(ids) == sorted(job.id for job in jobs)
    assert slow.depth() == 0


@pytest.fixture
def sender(amqp_url: str) -> Iterator[Sender]:
    made = Sender(amqp_url)
    yield made
    made.close()


def test_one_publisher_waits_for_a_broker_that_does_not_answer_and_no_other(sender: Sender) -> None:
    """Else each web request that adds a job would take seconds, for as long as the broker's host is away."""
    sender.driver.declare("q")
    sender.driver.declare("other")
    sender.driver.close()
    sender.proxy.freeze()
    with pytest.raises(DriverUnavailable):
        sender.submit(task("q"))
    began = time.monotonic()
    for queue in ("q", "other"):
        for _ in range(50):
            assert not sender.submit(task(queue))
    assert time.monotonic() - began < sender.driver._reply_s / 2
    assert [queue for queue, error in sender.reported if error] == ["other"], "the first one was told by the error"
    sender.proxy.thaw()
    until(lambda: (sender.depth("q"), sender.depth("other")) == (51, 50), WAIT_S)
    until(lambda: {("q", None), ("other", None)} <= set(sender.reported), WAIT_S)
    assert not sender.submit(task("q"))
    assert sender.driver.open_count() == 1, "it was sent by who published it"


def test_what_has_no_room_while_the_broker_does_not_answer_is_left_to_recovery(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_AGAIN", 3)
    sender.proxy.freeze()
    with pytest.raises(DriverUnavailable):
        sender.submit(task("q"))
    began, refused = time.monotonic(), 0
    for _ in range(10):
        try:
            sender.submit(task("q"))
        except DriverUnavailable:
            refused += 1
    assert time.monotonic() - began < sender.driver._reply_s / 2
    assert refused >= 5
    began = time.monotonic()
    sender.driver.close()
    assert time.monotonic() - began < 3 * sender.driver._reply_s
    sender.proxy.thaw()
    sender.submit(task("q"))
    until(lambda: (sender.depth() or 0) >= 1, WAIT_S)


def test_a_link_that_has_ended_is_not_opened_to_be_closed(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kombu connects anew when it is asked for the connection of a link that the broker has closed."""
    sender.submit(task("q"))
    until(lambda: sender.driver.open_count() == 0, WAIT_S)
    sender.proxy.cut_all()
    accepted = sender.proxy.accepted
    monkeypatch.setattr(driver, "LONG_IDLE_S", 0.0)
    (link,) = sender.driver._idle
    until(lambda: not sender.driver.is_usable(link), WAIT_S)
    link.close(ConnectionResetError())
    assert sender.proxy.accepted == accepted
