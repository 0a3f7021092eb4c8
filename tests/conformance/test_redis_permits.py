"""Where store and broker are one Redis, the scripts put permits into the broker's list and take them out of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from stratix_kombu.drivers.redis import RedisDriver
from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.record import Completion, NewJob
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import open_redis_store

NATIVE = '{"body":"","headers":{"task":"app.add"},"properties":{"priority":0}}'


class Broker:
    """A store that delivers, and the broker's list of the queue ``q``."""

    def __init__(self, url: str) -> None:
        namespace = f"permits{uuid.uuid4().hex[:8]}"
        self.store: Store = open_redis_store({"url": url}, namespace=namespace)
        driver = RedisDriver({"url": url}, namespace=namespace)
        inline = driver.inline_queue()
        assert inline is not None
        assert self.store.deliver_through(inline)
        self.list = driver.broker_queue("q")
        self.client: Any = Redis.from_url(url, decode_responses=True)

    def add(self, *ids: str, **fields: Any) -> None:
        assert self.store.transitions.add([NewJob(id=one, queue="q", name="n", **fields) for one in ids]).ready == ()

    def take(self, want: int, bounds: Bounds | None = None, permits: int = 0) -> list[str]:
        taken = self.store.transitions.take("q", "w", 60_000, want, bounds or Bounds(), permits=permits)
        return [one.record.id for one in taken.claims]

    def tasks(self) -> list[str]:
        """Of the messages, the next one first."""
        return [json.loads(one)["headers"]["task"] for one in self.client.lrange(self.list, 0, -1)][::-1]


@pytest.fixture
def broker(redis_url: str) -> Iterator[Broker]:
    broker = Broker(redis_url)
    yield broker
    broker.client.delete(broker.list)
    broker.client.close()
    broker.store.close()


def test_what_is_taken_leaves_no_permit(broker: Broker) -> None:
    broker.add(*"abcdef")
    tags = [json.loads(one)["properties"]["delivery_tag"] for one in broker.client.lrange(broker.list, 0, -1)]
    assert len(set(tags)) == 6
    assert broker.take(1) == ["a"]
    assert len(broker.tasks()) == 5
    broker.client.rpop(broker.list)
    assert broker.take(3, permits=1) == ["b", "c", "d"]
    assert len(broker.tasks()) == 2
    assert broker.take(9) == ["e", "f"]
    assert broker.tasks() == []


def test_messages_of_tasks_and_of_others_stay_in_their_order(broker: Broker) -> None:
    broker.add("native", message=NATIVE)
    broker.add("a")
    broker.client.lpush(broker.list, '{"headers":{"task":"other"}}')
    broker.add("b", "c")
    assert broker.take(1) == ["a"], "its permit is behind the message of a task"
    assert broker.tasks() == ["app.add", "stratix.job", "other", "stratix.job", "stratix.job"]
    broker.client.rpop(broker.list)
    assert broker.take(2) == ["b", "c"]
    assert broker.tasks() == ["other", "stratix.job", "stratix.job"]


def test_a_permit_that_somebody_else_has_written_is_one(broker: Broker) -> None:
    broker.add("a")
    broker.client.delete(broker.list)
    broker.client.lpush(broker.list, json.dumps({"headers": {"lang": "py", "task": "stratix.job", "id": "x"}}))
    assert broker.take(1) == ["a"]
    assert broker.tasks() == []


def test_what_is_owed_is_sent_by_what_reopens_the_queue(broker: Broker) -> None:
    broker.add(*"abcde")
    broker.store.transitions.pause("q")
    broker.client.delete(broker.list)
    assert broker.take(5, permits=5) == []
    assert broker.store.transitions.resume("q").ready == ()
    assert broker.tasks() == ["stratix.job"] * 5
    one = Bounds(global_concurrency=1)
    claims = broker.store.transitions.take("q", "w", 60_000, 1, one).claims
    broker.client.delete(broker.list)
    assert broker.take(4, one, permits=4) == []
    broker.store.transitions.complete([Completion("a", claims[0].token, "1")])
    assert broker.tasks() == ["stratix.job"]
