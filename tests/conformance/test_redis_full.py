"""A server that has reached its ``maxmemory``: nothing is added, and what was begun ends."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from redis import Redis

from stratix_kombu import Job, Queue, StoreUnavailable, create_app
from stratix_kombu.model.record import Claim, Completion, Failure, HandOver, Held, NewJob, Retention, WorkerInfo
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import open_redis_store
from tests.services import redis_server
from tests.waiting import until


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with redis_server("--maxmemory-policy", "noeviction") as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = open_redis_store({"url": url}, namespace=f"full{uuid.uuid4().hex[:8]}")
    yield store
    store.close()


@contextmanager
def full(url: str) -> Iterator[None]:
    """The server has no memory left meanwhile."""
    with Redis.from_url(url) as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


def _pass(url: str, milliseconds: int) -> None:
    """Wait until the server's clock shows so much more."""
    with Redis.from_url(url) as client:
        seconds, micros = client.time()
        end = seconds * 1_000_000 + micros + milliseconds * 1000
        until(lambda: (now := client.time())[0] * 1_000_000 + now[1] > end)


def _job(job_id: str, **fields: object) -> NewJob:
    return NewJob(id=job_id, queue="q", name="n", **fields)  # type: ignore[arg-type]


def _state(store: Store, job_id: str) -> str:
    (record,) = store.queries.get([job_id])
    return record.state if record else "gone"


ENDS: dict[str, tuple[Callable[[Store, Claim], object], str]] = {
    "complete": (
        lambda store, one: store.transitions.complete([Completion(one.record.id, one.token, "1")]),
        "completed",
    ),
    "complete_and_take": (
        lambda store, one: store.transitions.complete_and_take(
            [Completion(one.record.id, one.token, "1")], "q", "w", 1000, 1
        ),
        "completed",
    ),
    "fail": (lambda store, one: store.transitions.fail([Failure(one.record.id, one.token, "no", "")]), "failed"),
    "retry": (
        lambda store, one: store.transitions.fail([Failure(one.record.id, one.token, "no", "", 60_000)]),
        "delayed",
    ),
    "hand_over": (
        lambda store, one: store.transitions.hand_over([HandOver(one.record.id, one.token, (_job(one.record.id),))]),
        "waiting",
    ),
    "hand_back": (lambda store, one: store.transitions.hand_back([Held(one.record.id, one.token)]), "waiting"),
}


@pytest.mark.parametrize("usual", [True, False])
@pytest.mark.parametrize("end", ENDS)
def test_an_attempt_ends(store: Store, url: str, end: str, usual: bool) -> None:
    store.transitions.add([_job("a", **({} if usual else {"group": "g", "keep_completed": Retention(count=5)}))])
    (claim,) = store.transitions.take("q", "w", 1000, 1).claims
    step, state = ENDS[end]
    with full(url):
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            store.transitions.add([_job("b")])
        step(store, claim)
    assert _state(store, "a") == state


def test_a_claim_is_kept(store: Store, url: str) -> None:
    store.transitions.add([_job("a")])
    (claim,) = store.transitions.take("q", "w", 300, 1).claims
    with full(url):
        renewed = store.transitions.renew([WorkerInfo(id="w", queue="q")], [Held("a", claim.token)], 60_000)
        _pass(url, 301)
        store.transitions.recover(1)
    assert (list(renewed.lost), _state(store, "a")) == ([], "active")


def test_what_was_added_goes_on(store: Store, url: str) -> None:
    """The clock leads, delayed jobs come, those of dead workers too, and a queue may be held."""
    store.transitions.add([_job("a", delay_ms=50), _job("b")])
    store.transitions.take("q", "w", 50, 1)
    _pass(url, 51)
    with full(url):
        assert store.clocks.lead("clock", 1000).leads
        store.transitions.hold("q", 1000)
        store.transitions.promote()
        store.transitions.recover(1)
    assert [_state(store, job_id) for job_id in "ab"] == ["waiting", "waiting"]


BY_HAND: dict[str, tuple[Callable[[Queue, Job, Job], object], str, str]] = {
    "pause": (lambda queue, job, late: queue.pause(), "paused", "delayed"),
    "cancel": (lambda queue, job, late: job.cancel("no"), "failed", "delayed"),
    "cancel_jobs": (lambda queue, job, late: queue.cancel_jobs("waiting"), "failed", "delayed"),
    "cancel, retry": (lambda queue, job, late: (job.cancel("no"), job.retry()), "waiting", "delayed"),
    "cancel, retry_jobs": (lambda queue, job, late: (job.cancel("no"), queue.retry_jobs()), "waiting", "delayed"),
    "change_priority": (lambda queue, job, late: job.change_priority(3), "waiting", "delayed"),
    "promote": (lambda queue, job, late: late.promote(), "waiting", "waiting"),
    "promote_jobs": (lambda queue, job, late: queue.promote_jobs(), "waiting", "waiting"),
    "change_delay": (lambda queue, job, late: late.change_delay(90_000), "waiting", "delayed"),
    "set_rate_limit": (lambda queue, job, late: queue.set_rate_limit(max=1, duration=1000), "waiting", "delayed"),
    "remove": (lambda queue, job, late: (job.remove(), late.remove()), "gone", "gone"),
    "cancel, clean": (lambda queue, job, late: (job.cancel("no"), queue.clean(0, state="failed")), "gone", "delayed"),
    "drain": (lambda queue, job, late: queue.drain(delayed=True), "gone", "gone"),
    "obliterate": (lambda queue, job, late: queue.obliterate(), "gone", "gone"),
}


@pytest.mark.parametrize("action", BY_HAND)
def test_what_somebody_does_to_jobs_that_are_there(url: str, action: str) -> None:
    """Not least what makes room."""
    app = create_app({"driver": "redis", "redis": {"url": url}, "namespace": f"full{uuid.uuid4().hex[:8]}"})
    with app:
        queue = app.queue.create_queue("q")
        job, late = queue.add("n"), queue.add("n", delay=60_000)
        step, *states = BY_HAND[action]
        with full(url):
            step(queue, job, late)
        is_paused = queue.is_paused()
        found = [_state(app.queue.store, one.id) for one in (job, late)]
    assert ["paused" if is_paused and one == "waiting" else one for one in found] == states
