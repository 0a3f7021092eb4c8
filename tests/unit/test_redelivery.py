"""Lost messages are made up for at the rate the queue is worked."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

import pytest

from stratix_kombu import DriverUnavailable
from stratix_kombu.drivers.memory import MemoryDriver
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.recover import PAGES_AHEAD, Redelivery
from stratix_kombu.model.record import NewJob, Ready
from stratix_kombu.stores.contract import PAGE, Store
from stratix_kombu.stores.memory import open_memory_store
from stratix_kombu.stores.redis import open_redis_store
from tests.waiting import until

GRACE_MS = 30
LOST = 2 * PAGES_AHEAD * PAGE + 40


class Broker(MemoryDriver):
    """It counts, and can lose all it has."""

    def __init__(self) -> None:
        super().__init__({}, namespace="n")
        self.sent: list[str] = []
        self.waiting = 0
        self.exact: int | None = 0
        self.away = False

    def publish(self, jobs: Sequence[Ready]) -> None:
        self.sent += [job.id for job in jobs]
        self.waiting += len(jobs)

    def depth(self, queue: str) -> int | None:
        if self.away:
            raise DriverUnavailable("broker", "away")
        return None if self.exact is None else self.waiting


class Case:
    def __init__(self, store: Store) -> None:
        self.broker = Broker()
        self.store = store
        self.engine = Engine(store, self.broker)
        self.redelivery = Redelivery(self.engine, GRACE_MS)

    def lose(self, count: int) -> None:
        for start in range(0, count, 1_000):
            jobs = [NewJob(id=f"{n:05}", queue="q", name="n") for n in range(start, min(start + 1_000, count))]
            self.store.transitions.add(jobs)
        until(lambda: (self.store.queries.status("q").oldest_waiting_ms or 0) > 8 * GRACE_MS)


@pytest.fixture(params=["memory", "redis"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    name = uuid.uuid4().hex
    if request.param == "memory":
        store: Store = open_memory_store({"url": "memory://"}, namespace=name)
    else:
        store = open_redis_store({"url": request.getfixturevalue("redis_url")}, namespace=name)
    yield Case(store)
    store.close()


def test_all_are_made_up_for_while_the_queue_is_worked(case: Case) -> None:
    case.lose(LOST)
    case.redelivery.look()
    assert len(case.broker.sent) == PAGE
    rounds = 0
    while len({*case.broker.sent}) < LOST:
        case.redelivery.go_on()
        assert case.broker.waiting <= (PAGES_AHEAD + 1) * PAGE, "no flood"
        case.redelivery.look()
        case.broker.waiting = rounds % 2  # nearly all were worked, not always all
        rounds += 1
        assert rounds < 10
    assert sorted({*case.broker.sent}) == [f"{n:05}" for n in range(LOST)]


def test_nothing_is_sent_while_the_broker_has_enough(case: Case) -> None:
    case.lose(3 * PAGE)
    case.redelivery.look()
    for _ in range(3):
        case.redelivery.go_on()
        case.redelivery.look()
    assert len(case.broker.sent) == PAGE
    case.broker.waiting = PAGE - 1
    case.redelivery.go_on()
    assert len({*case.broker.sent}) == 3 * PAGE


def test_a_queue_that_is_paused_meanwhile_is_left_alone(case: Case) -> None:
    case.lose(2 * PAGE)
    case.redelivery.look()
    case.broker.waiting = 0
    case.store.transitions.pause("q")
    case.redelivery.go_on()
    assert len(case.broker.sent) == PAGE
    case.store.transitions.resume("q")
    case.redelivery.go_on()
    case.redelivery.look()
    assert len({*case.broker.sent}) == 2 * PAGE


def test_a_broker_that_is_away_meanwhile_is_asked_again(case: Case) -> None:
    case.lose(2 * PAGE)
    case.redelivery.look()
    case.broker.away, case.broker.waiting = True, 0
    case.redelivery.go_on()
    assert len(case.broker.sent) == PAGE
    case.broker.away = False
    case.redelivery.go_on()
    assert len({*case.broker.sent}) == 2 * PAGE


def test_where_the_depth_cannot_be_known(case: Case) -> None:
    case.broker.exact = None
    case.lose(2 * PAGE)
    case.redelivery.look()
    case.redelivery.go_on()
    assert len({*case.broker.sent}) == 2 * PAGE
