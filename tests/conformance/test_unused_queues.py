"""Queues that nobody uses are forgotten, and those that are to be kept are not."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stratix_kombu.model.record import Completion, Deduplication, Limit, NewJob, Retention, Schedule, WorkerInfo
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.memory import MemoryStore, unused
from stratix_kombu.stores.redis import open_redis_store, transitions
from tests.waiting import until

FAR_MS = 3_600_000
Step = Callable[[Store], object]


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """What is unused for a moment is so for long."""
    monkeypatch.setattr(transitions, "UNUSED_MS", 1)
    monkeypatch.setattr(unused, "UNUSED_MS", 1)
    if request.param == "memory":
        yield MemoryStore()
        return
    opened = open_redis_store({"url": redis_url}, namespace=f"unused{uuid.uuid4().hex[:8]}")
    yield opened
    opened.close()


def run(store: Store, queue: str, **fields: Any) -> None:
    store.transitions.add([NewJob(id=queue, queue=queue, name="n", keep_completed=Retention(count=0), **fields)])
    (claim,) = store.transitions.claim(queue, [queue], "w", FAR_MS).claims
    store.transitions.complete([Completion(queue, claim.token, "1")])


def forgotten(store: Store, *left: str) -> bool:
    """After one more step of the clock."""
    store.transitions.recover(1)
    return tuple(store.queries.queues()) == left


def test_a_queue_that_nobody_uses_is_forgotten(store: Store) -> None:
    run(store, "brief")
    store.transitions.add([NewJob(id="waits", queue="used", name="n")])
    until(lambda: forgotten(store, "used"))
    assert store.events.read("brief", "0") == []
    assert store.queries.totals("brief").completed == 0
    run(store, "brief")
    assert store.queries.queues() == ["brief", "used"]
    assert store.queries.totals("brief").completed == 1


def add(store: Store, **fields: Any) -> None:
    store.transitions.add([NewJob(id="kept", queue="kept", name="n", **fields)])


def put(store: Store) -> None:
    store.schedules.put(Schedule(key="k", queue="kept", name="n", rule="{}", template="{}", next_ms=32_503_680_000_000))


def deduplicate(store: Store, ttl_ms: int) -> None:
    run(store, "kept", deduplication=Deduplication("d", ttl_ms=ttl_ms))


def serve(store: Store) -> None:
    store.transitions.renew([WorkerInfo(id="w", queue="kept")], [], FAR_MS)


REASONS: dict[str, tuple[Step, Step]] = {
    "waiting": (add, lambda store: store.transitions.remove("kept")),
    "delayed": (lambda store: add(store, delay_ms=FAR_MS), lambda store: store.transitions.remove("kept")),
    "worker": (serve, lambda store: store.transitions.leave("w", ["kept"])),
    "pause": (lambda store: store.transitions.pause("kept"), lambda store: store.transitions.resume("kept")),
    "limit": (
        lambda store: store.transitions.set_limit("kept", Limit("queue:kept", 1, 1)),
        lambda store: store.transitions.set_limit("kept", None),
    ),
    "bound": (
        lambda store: store.transitions.set_global_concurrency("kept", 3),
        lambda store: store.transitions.set_global_concurrency("kept", None),
    ),
    "hold": (lambda store: store.transitions.hold("kept", FAR_MS), lambda store: store.transitions.hold("kept", 0)),
    "schedule": (put, lambda store: store.schedules.remove("k")),
    "deduplication": (lambda store: deduplicate(store, FAR_MS), lambda store: None),
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_queue_is_kept(store: Store, reason: str) -> None:
    begin, end = REASONS[reason]
    run(store, "brief")
    if reason in ("limit", "bound", "hold", "schedule"):
        run(store, "kept")
    begin(store)
    until(lambda: forgotten(store, "kept"))
    for _ in range(3):
        assert forgotten(store, "kept")
    end(store)
    if reason != "deduplication":
        until(lambda: forgotten(store))


def test_workers_that_are_gone_do_not_pile_up(redis_url: str) -> None:
    opened = open_redis_store({"url": redis_url}, namespace=f"unused{uuid.uuid4().hex[:8]}")
    serve(opened)
    scripts: Any = opened._transitions._scripts
    key = f"{scripts._base}:q:kept:serving"
    client = opened._client
    opened.transitions.recover(1)
    assert client.run("HLEN", key) == 1
    client.run("HDEL", f"{scripts._base}:process", "w")  # a minute after its presence has ended
    until(lambda: opened.transitions.recover(1) and client.run("HLEN", key) == 0)
    serve(opened)
    assert [one.id for one in opened.queries.workers("kept")] == ["w"], "it was only slow, and is here again"
    opened.close()
