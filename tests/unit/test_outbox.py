"""What is published while a broker does not answer: one waits for it, a thread sends the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from stratix_kombu.drivers import outbox
from stratix_kombu.drivers.memory import MemoryDriver
from stratix_kombu.errors import DriverUnavailable
from stratix_kombu.model.record import Ready
from stratix_kombu.testing.drivers import ready
from tests.waiting import WAIT_S, until

SILENCE_S = 0.2


class Broken(MemoryDriver):
    """A driver whose broker does not answer, or does not take the messages of some queues."""

    silent = False
    refused: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.reported: list[tuple[str, BaseException | None]] = []
        super().__init__({}, namespace="outbox")

    def publish(self, jobs: Sequence[Ready]) -> None:
        if self.silent:
            time.sleep(SILENCE_S)
            raise DriverUnavailable(self.address, "nobody answers")
        if self.refused & {job.queue for job in jobs}:
            raise DriverUnavailable(self.address, "no")
        self.sent += (job.queue for job in jobs)

    def add(self, queue: str) -> bool:
        return self.submit(ready(queue, 1), lambda *heard: self.reported.append(heard))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broken]:
    monkeypatch.setattr(outbox, "LONG_S", SILENCE_S / 2)
    driver = Broken()
    yield driver
    driver.close()


def fall_silent(driver: Broken) -> None:
    driver.silent = True
    with pytest.raises(DriverUnavailable):
        driver.add("first")


def test_the_fault_of_one_queue_does_not_hold_up_the_others(driver: Broken) -> None:
    fall_silent(driver)
    for queue in ("bad", "good"):
        assert not driver.add(queue)
    driver.refused, driver.silent = frozenset({"bad"}), False
    until(lambda: sorted(driver.sent) == ["first", "good"], WAIT_S)
    assert driver.add("good"), "the broker answers"
    with pytest.raises(DriverUnavailable):
        driver.add("bad")
    driver.refused = frozenset()
    until(lambda: "bad" in driver.sent, WAIT_S)
    assert sorted(driver.sent) == ["bad", "first", "good", "good"], "each once"


def test_each_try_that_fails_is_reported(driver: Broken) -> None:
    fall_silent(driver)
    assert not driver.add("first")
    until(lambda: len(driver.reported) >= 2, WAIT_S)
    assert all(isinstance(error, DriverUnavailable) for _, error in driver.reported)
    driver.silent = False
    until(lambda: driver.reported[-1] == ("first", None), WAIT_S)


def test_a_thread_that_could_not_be_started_is_started_with_the_next_message(
    driver: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", start)
        fall_silent(driver)
    driver.silent = False
    assert not driver.add("second")
    until(lambda: sorted(driver.sent) == ["first", "second"], WAIT_S)


def test_a_fault_that_shows_at_once_is_the_publishers(driver: Broken) -> None:
    driver.refused = frozenset({"q"})
    for _ in range(2):
        with pytest.raises(DriverUnavailable):
            driver.add("q")
    driver.refused = frozenset()
    assert driver.add("q")
    assert driver.sent == ["q"], "the others are left to recovery"
