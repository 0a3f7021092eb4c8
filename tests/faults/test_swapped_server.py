"""The roles of two Redis servers are swapped behind one name: open connections stay with the one that was demoted."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import create_app
from tests.celery.workers import Project
from tests.faults.conftest import WORKER
from tests.faults.proxy import Proxy
from tests.faults.worker_processes import worker_process
from tests.redis_nodes import Pair, redis_pair

SOON_S = 30.0


@pytest.fixture
def pair() -> Iterator[Pair]:
    with redis_pair() as pair:
        yield pair


@pytest.fixture
def proxy(pair: Pair) -> Iterator[Proxy]:
    proxy = Proxy(pair.url)
    yield proxy
    proxy.close()


def _swap(pair: Pair, proxy: Proxy) -> None:
    pair.swap()
    proxy.lead_to(pair.url)


def _settings(broker: str, store: str) -> dict[str, Any]:
    redis = {"url": broker}
    return {"driver": "redis", "redis": redis, "store": store, "worker": WORKER, "namespace": uuid.uuid4().hex[:8]}


@pytest.mark.parametrize("moves", ["both", "broker", "store"])
def test_producer_and_worker_go_on_with_the_new_master(
    pair: Pair, proxy: Proxy, redis_url: str, tmp_path: Path, moves: str
) -> None:
    broker, store = (redis_url if moves == other else proxy.url for other in ("store", "broker"))
    settings = _settings(broker, store)
    with create_app(settings) as app, worker_process(settings, "work", tmp_path / "runs"):
        app.start()
        queue, errors = app.queue.create_queue("work"), list[BaseException]()
        queue.on("error", errors.append)
        assert queue.add("before").wait_until_finished(timeout=SOON_S) == "before"
        _swap(pair, proxy)
        for number in range(3):
            assert queue.add(f"after-{number}").wait_until_finished(timeout=SOON_S) == f"after-{number}"
        assert len(errors) <= 2, errors


def test_a_celery_worker_goes_on_with_the_new_master(pair: Pair, proxy: Proxy) -> None:
    project = Project(proxy.url, proxy.url)
    with project.worker():
        assert project.task("add").delay(1, 1).get(timeout=SOON_S) == 2
        _swap(pair, proxy)
        for number in range(3):
            assert project.task("add").delay(1, number).get(timeout=SOON_S) == 1 + number
    project.close()
