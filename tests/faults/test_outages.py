"""One server that is away is one error and one line in the log, however many threads and queues run into it."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import DriverUnavailable, StoreUnavailable, create_app
from stratix_kombu.drivers.memory import MemoryDriver
from stratix_kombu.lifecycle import outages
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.stores.memory import open_memory_store
from tests.faults.conftest import WORKER
from tests.faults.proxy import Proxy
from tests.waiting import until


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    proxy = Proxy(redis_url)
    yield proxy
    proxy.close()


def test_a_store_that_goes_and_comes_back(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    settings: dict[str, Any] = {
        "driver": "memory",
        "store": proxy.url,
        "namespace": f"out{uuid.uuid4().hex[:8]}",
        "worker": WORKER,
    }
    with caplog.at_level(logging.WARNING, "stratix_kombu"), create_app(settings) as app:
        app.start()
        heard: dict[str, list[BaseException]] = {"one": [], "two": []}
        for name, errors in heard.items():
            queue = app.queue.create_queue(name, concurrency=3)
            queue.process(lambda job: "done")
            queue.on("error", errors.append)
            queue.on("completed", lambda job, result: None)
        faults = app.queue.engine.faults
        until(lambda: all(queue.worker for queue in app.queue.get_all_queues()), 30)
        proxy.refuse()
        until(lambda: faults["renew_failed"] >= 4 and faults["clock_failed"] >= 2, 60)
        proxy.accept()
        until(lambda: "is back after" in caplog.text and caplog.text.count("are read again") == 1, 60)
        assert queue.add("n").wait_until_finished(timeout=30) == "done"
    assert [type(error) for error in (*heard["one"], *heard["two"])] == [StoreUnavailable] * 2
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if " failed (queue" in line]) == 1, lines
    assert len([line for line in lines if "cannot be read" in line]) == 1, lines
    assert len([line for line in lines if "is back after" in line]) == 1, lines
    assert len([line for line in lines if "are read again" in line]) == 1, lines


@pytest.fixture
def engine() -> Engine:
    driver = MemoryDriver({}, namespace="n")
    return Engine(open_memory_store({"url": "memory://"}, namespace=uuid.uuid4().hex), driver)


def test_another_server_is_another_outage(engine: Engine) -> None:
    events_heard: list[BaseException] = []
    engine.on_error(lambda queue, error: events_heard.append(error))
    store, broker = StoreUnavailable("a", "refused"), DriverUnavailable("b", "refused")
    for _ in range(3):
        engine.report("q", store, "renew_failed")
        engine.report("q", broker, "consume_failed")
        engine.report("other", broker, "dispatch_failed")
    assert events_heard == [store, broker]
    assert engine.faults == {"renew_failed": 3, "consume_failed": 3, "dispatch_failed": 3}


def test_it_is_over_when_all_that_failed_has_succeeded(engine: Engine) -> None:
    events_heard: list[BaseException] = []
    engine.on_error(lambda queue, error: events_heard.append(error))
    error = DriverUnavailable("b", "refused")
    engine.report("q", error, "consume_failed")
    engine.report("q", error, "dispatch_failed")
    engine.reached("q", "consume_failed")
    engine.report("q", error, "dispatch_failed")
    assert len(events_heard) == 1
    engine.reached("q", "dispatch_failed")
    engine.report("q", error, "dispatch_failed")
    assert len(events_heard) == 2


def test_it_is_over_when_nothing_has_failed_for_long(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed then may never be tried again."""
    events_heard: list[BaseException] = []
    engine.on_error(lambda queue, error: events_heard.append(error))
    monkeypatch.setattr(outages, "QUIET_S", 0.0)
    for _ in range(2):
        engine.report("q", DriverUnavailable("b", "refused"), "dispatch_failed")
    assert len(events_heard) == 2


def test_two_threads_that_meet_with_it_at_once_report_it_once(engine: Engine) -> None:
    error = StoreUnavailable("a", "refused")
    events_heard: list[BaseException] = []

    def listen(queue: str, error: BaseException) -> None:
        events_heard.append(error)
        if len(events_heard) == 1:  # the other thread meets with it while this one reports it
            other = threading.Thread(target=engine.report, args=("q", error, "clock_failed"))
            other.start()
            other.join()

    engine.on_error(listen)
    engine.report("q", error, "renew_failed")
    assert events_heard == [error]


def test_whoever_listens_later_hears_of_it_too(engine: Engine) -> None:
    error = DriverUnavailable("b", "refused")
    engine.on_error(lambda queue, error: False)
    engine.report("q", error, "consume_failed")
    events_heard: list[BaseException] = []
    engine.on_error(lambda queue, error: events_heard.append(error))
    engine.report("q", error, "consume_failed")
    engine.report("q", error, "consume_failed")
    assert events_heard == [error]
