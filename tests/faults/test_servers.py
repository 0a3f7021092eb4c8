"""Brokers and stores that are restarted, frozen, emptied and cut off, under workers of both hosts on every driver.

All workers run at once, on one store: each fault is made once and seen by all of them. After it every worker has to
prove that it consumes, and at the end of each test the audit of each queue has to find nothing.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stratix_kombu.model.record import Ready
from stratix_kombu.stores.redis.scripts import digest
from tests.faults.audit import audit_run, keys_left, no_message_left
from tests.faults.hosts import HOSTS, Place, Workers
from tests.faults.proxy import Proxy
from tests.faults.servers import OwnRabbitMQ, OwnRedis
from tests.faults.work import Work, seed_of
from tests.waiting import until

FROZEN_S = 3.0
STORE_FROZEN_S = 10.0
BUSY = 0.5
"""Processor time a second that a worker may take while a server is frozen. One that spins takes all of it."""
TICKS_S = os.sysconf("SC_CLK_TCK")


class Member:
    """One queue with its worker."""

    def __init__(self, place: Place, direct: Place, pid: int, log: Path) -> None:
        self.name = f"{place.host} on {place.driver} {'' if place.store == place.broker else '(broker apart)'}"
        self.place, self.pid, self.log = place, pid, log
        self.app = direct.application()
        self.queue = self.app.queue.get_queue(place.queue)
        self.work = Work(self.queue, seed_of(self.name))
        self.engine = self.app.queue.engine

    def consumes(self) -> None:
        """A job that is added now is run: the worker consumes, not only lives."""
        try:
            self.work.probe()
        except AssertionError as problem:
            os.kill(self.pid, signal.SIGUSR1)
            raise AssertionError(f"{self.name} does not consume: see the log in {self.log}") from problem

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_S


class Fleet:
    """All servers, and a worker for each host, driver and place of the store."""

    def __init__(self, folder: Path, sqs_url: str) -> None:
        self.redis_store, self.redis_broker, self.rabbitmq = OwnRedis(True), OwnRedis(False), OwnRabbitMQ()
        self.servers = (self.redis_store, self.redis_broker, self.rabbitmq)
        for server in self.servers:
            server.start()
        self.store, self.sqs = Proxy(self.redis_store.url), Proxy(sqs_url)
        self.workers = Workers(folder)
        self.members = [self._member(host, driver, url, sqs_url) for host in HOSTS for driver, url in self._brokers()]
        for member in self.members:
            member.work.add_batch()
            member.work.probe()

    def _brokers(self) -> list[tuple[str, str]]:
        return [
            ("redis", self.store.url),
            ("redis", self.redis_broker.url),
            ("rabbitmq", self.rabbitmq.url),
            ("sqs", self.sqs.url),
        ]

    def _member(self, host: str, driver: str, broker: str, sqs_url: str) -> Member:
        """The worker reaches the store, and SQS, through the proxies; the test does without them."""
        direct = {self.store.url: self.redis_store.url, self.sqs.url: sqs_url}
        namespace = f"fleet{uuid.uuid4().hex[:8]}"
        place = Place(host, driver, broker, self.store.url, namespace)
        here = Place(host, driver, direct.get(broker, broker), self.redis_store.url, namespace)
        return Member(place, here, self.workers.begin(place, wait=False), self.workers.log(place))

    def add_batches(self, count: int = 2) -> None:
        for _ in range(count):
            for member in self.members:
                member.work.add_batch()

    def recover(self) -> None:
        """Each worker consumes again, all jobs end, and the audit is content."""
        self.add_batches(1)
        for member in self.members:
            member.consumes()
        for member in self.members:
            member.work.finish()
            problems = audit_run(member.work, member.engine, self.workers.runs(member.place))
            assert problems == [], f"{member.name}: {problems}"

    @contextmanager
    def idle_meanwhile(self) -> Iterator[None]:
        """No worker spins while it lasts."""
        began, before = time.monotonic(), [member.cpu_s() for member in self.members]
        yield
        took = time.monotonic() - began
        for member, cpu_s in zip(self.members, before, strict=True):
            assert member.cpu_s() - cpu_s < BUSY * took, f"{member.name} was busy while a server was frozen"

    def close(self) -> None:
        self.workers.close()
        for member in self.members:
            member.app.close()
        for one in (self.store, self.sqs, *self.servers):
            one.close()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, sqs_url: str) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), sqs_url)
    yield fleet
    fleet.close()


def wait(seconds: float) -> None:
    """For a fault to last."""
    began = time.monotonic()
    until(lambda: time.monotonic() - began > seconds, seconds + 10)


def test_the_store_is_frozen_for_ten_seconds(fleet: Fleet) -> None:
    fleet.add_batches()
    fleet.redis_store.freeze()
    try:
        with fleet.idle_meanwhile():
            wait(STORE_FROZEN_S)
    finally:
        fleet.redis_store.thaw()
    fleet.recover()


def test_the_store_is_restarted_with_its_data(fleet: Fleet) -> None:
    fleet.add_batches()
    fleet.redis_store.kill()
    with fleet.idle_meanwhile():
        wait(1)
    fleet.redis_store.start()
    fleet.recover()


@pytest.mark.parametrize("script", ["take", "complete", "fail", "promote", "renew"])
def test_the_connection_is_cut_in_the_middle_of_a_reply(fleet: Fleet, script: str) -> None:
    cuts = fleet.store.cuts
    fleet.store.cut_replies_to(digest(script).encode(), keep=3, times=4)
    fleet.add_batches(1)
    until(lambda: fleet.store.cuts >= cuts + 4, 30)
    fleet.recover()


def test_brokers_are_restarted(fleet: Fleet) -> None:
    """RabbitMQ with its data, Redis without, SQS not reachable meanwhile."""
    fleet.add_batches()
    fleet.rabbitmq.kill()
    fleet.redis_broker.kill()
    fleet.sqs.refuse()
    with fleet.idle_meanwhile():
        wait(1)
    fleet.sqs.accept()
    fleet.redis_broker.start()
    fleet.rabbitmq.start()
    fleet.recover()


def test_brokers_are_frozen(fleet: Fleet) -> None:
    fleet.add_batches()
    for broker in (fleet.rabbitmq, fleet.redis_broker, fleet.sqs):
        broker.freeze()
    try:
        with fleet.idle_meanwhile():
            wait(FROZEN_S)
    finally:
        for broker in (fleet.rabbitmq, fleet.redis_broker, fleet.sqs):
            broker.thaw()
    fleet.recover()


def test_brokers_lose_all_messages(fleet: Fleet) -> None:
    """Stopped workers are not there to take them before they are lost."""
    for member in fleet.members:
        os.kill(member.pid, signal.SIGSTOP)
    try:
        fleet.add_batches(1)
        for member in fleet.members:
            member.engine.driver.purge(member.queue.name)
    finally:
        for member in fleet.members:
            os.kill(member.pid, signal.SIGCONT)
    fleet.recover()


def test_messages_come_twice_and_in_any_order(fleet: Fleet) -> None:
    for member in fleet.members:
        os.kill(member.pid, signal.SIGSTOP)
    try:
        fleet.add_batches(1)
        for member in fleet.members:
            waiting = member.queue.get_jobs(["waiting"])
            assert waiting
            again = [Ready(job.id, job.queue_name, job.name) for job in reversed(waiting)]
            member.engine.driver.publish(again * 2)
    finally:
        for member in fleet.members:
            os.kill(member.pid, signal.SIGCONT)
    fleet.recover()


def test_nothing_is_left(fleet: Fleet) -> None:
    """After all of it: workers end when they are asked to, no message and no key is left over."""
    for member in fleet.members:
        no_message_left(member.engine.driver, member.queue.name)
        os.kill(member.pid, signal.SIGTERM)
    for member in fleet.members:
        until(lambda member=member: not alive(member.pid), 40)  # type: ignore[misc]
        left = keys_left(member.queue, fleet.redis_store.url, member.place.namespace)
        assert left == [], member.name


def alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"
