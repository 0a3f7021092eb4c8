"""Adding one job on Redis, asked again: its id says that it was added, whatever has become of it since."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from stratix_kombu.model.record import ANY_CLAIM, KEEP_NONE, Completion, Failure, NewJob, Retention
from stratix_kombu.model.state import State, Sweep
from stratix_kombu.stores.redis import RedisStore, open_redis_store

Fate = Callable[[RedisStore, str], Any]


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    store = open_redis_store({"url": redis_url}, namespace=f"fresh{uuid.uuid4().hex[:8]}")
    yield store
    store.close()


def _new(**fields: Any) -> NewJob:
    return NewJob(id=uuid.uuid4().hex, queue="q", name="n", fresh=True, **fields)


MESSAGES = pytest.mark.parametrize("message", ["", '{"body":"","headers":{},"properties":{}}'], ids=["plain", "task"])


def _taken(store: RedisStore, job_id: str) -> None:
    assert store.transitions.claim("q", [job_id], "w", 60_000).claims


def _completed(store: RedisStore, job_id: str) -> None:
    store.transitions.complete([Completion(job_id, ANY_CLAIM, "1")])


def _failed(store: RedisStore, job_id: str) -> None:
    store.transitions.fail([Failure(job_id, ANY_CLAIM, "no")])


def _removed(store: RedisStore, job_id: str) -> None:
    store.transitions.remove(job_id)


def _swept(store: RedisStore, _: str) -> None:
    assert store.transitions.sweep("q", Sweep.REMOVE, State.WAITING).affected


def _completed_and_removed(store: RedisStore, job_id: str) -> None:
    _completed(store, job_id)
    _removed(store, job_id)


def _expired(store: RedisStore, job_id: str) -> None:
    _completed(store, job_id)
    store.transitions.expire()


KEPT: dict[str, Fate] = {"taken": _taken, "completed": _completed, "failed": _failed, "waiting": lambda *_: None}
GONE: dict[str, tuple[dict[str, Any], Fate]] = {
    "removed": ({}, _removed),
    "swept": ({}, _swept),
    "completed and removed": ({}, _completed_and_removed),
    "completed and not kept": ({"keep_completed": KEEP_NONE}, _completed),
    "failed and not kept": ({"keep_failed": KEEP_NONE}, _failed),
    "expired": ({"keep_completed": Retention(age_ms=0)}, _expired),
}


def _seen(store: RedisStore) -> Any:
    counts = store.queries.status("q").counts
    return counts, [(one.name, one.job_id) for one in store.events.read("q", "0")], store.queries.queues()


@MESSAGES
@pytest.mark.parametrize("fate", KEPT)
def test_a_job_that_is_there_is_answered_as_it_was_added(store: RedisStore, fate: str, message: str) -> None:
    job = _new(priority=3, options="{}", message=message)
    first = store.transitions.add([job])
    KEPT[fate](store, job.id)
    before = _seen(store)
    assert store.transitions.add([job]) == first
    assert _seen(store) == before


@MESSAGES
@pytest.mark.parametrize("fate", GONE)
def test_a_job_that_has_gone_does_not_come_back(store: RedisStore, fate: str, message: str) -> None:
    fields, end = GONE[fate]
    job = _new(**fields, message=message)
    store.transitions.add([job])
    end(store, job.id)
    assert store.queries.states([job.id]) == [None]
    before = _seen(store)
    (placed,) = store.transitions.add([job]).placed
    assert placed is not None
    assert placed.state is State.WAITING
    assert _seen(store) == before
    assert store.queries.states([job.id]) == [None]


def test_what_a_removed_job_leaves_goes_by_itself_and_is_no_end_of_it(store: RedisStore, redis_url: str) -> None:
    job = _new()
    store.transitions.add([job])
    store.transitions.remove(job.id)
    assert store.queries.ended([job.id]) == [None]
    with Redis.from_url(redis_url) as server:
        (left,) = server.scan_iter(f"*gone:{job.id}", count=10_000)
        assert 0 < server.pttl(left) <= 60_000


def test_an_old_job_leaves_nothing(store: RedisStore, redis_url: str) -> None:
    job = _new()
    store.transitions.add([job])
    with Redis.from_url(redis_url) as server:
        (key,) = server.scan_iter(f"*job:{job.id}", count=10_000)
        server.hset(key, "created", store.queries.now() - 60_001)
        store.transitions.remove(job.id)
        assert [*server.scan_iter(f"*{job.id}*", count=10_000)] == []


def test_where_asking_may_take_longer_than_that_the_answer_is_kept(redis_url: str) -> None:
    options = {"url": redis_url, "command_timeout": 60_000}
    store = open_redis_store(options, namespace=f"fresh{uuid.uuid4().hex[:8]}")
    job = _new()
    store.transitions.add([job])
    with Redis.from_url(redis_url) as server:
        base = store._transitions._scripts._base
        assert [*server.scan_iter(f"{base}:asked:*", count=10_000)]
    store.close()
