"""Delivery tags of tasks' own messages, which scripts put into the lists of a broker: each sending has another."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis

from stratix_kombu.model.record import Completion, InlineQueue, NewJob
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import open_redis_store

QUEUE = "q"
PARTS = '{"body":"%s","headers":{"task":"n","a":[",\\"delivery_tag\\":\\"a\\"}}"]},"properties":{"priority":0%s}}'
TAGS = {"none": "", "its own": ',"delivery_tag":"its own"'}
BODIES = {"short": "[]", "long": "x" * 50_000}


class Broker:
    """A store that puts messages into a list of its server."""

    def __init__(self, url: str) -> None:
        namespace, at = f"tags{uuid.uuid4().hex[:8]}", urlsplit(url)
        self.store: Store = open_redis_store({"url": url}, namespace=namespace)
        address = f"{at.hostname}:{at.port}/{at.path.strip('/') or 0}"
        self.store.deliver_through(InlineQueue(address, f"{namespace}.", ("",) * 10, PARTS))
        self.client, self.list = Redis.from_url(url, decode_responses=True), f"{namespace}.{QUEUE}"

    def sent(self) -> str:
        """The message that was sent last."""
        (message,) = self.client.lpop(self.list, 2)  # type: ignore[misc]
        return str(message)

    def claim(self, job_id: str) -> str:
        (claim,) = self.store.transitions.claim(QUEUE, [job_id], "w", 60_000).claims
        return claim.token


@pytest.fixture
def broker(redis_url: str) -> Iterator[Broker]:
    broker = Broker(redis_url)
    yield broker
    broker.client.close()
    broker.store.close()


def add_one(broker: Broker, job: NewJob) -> None:
    broker.store.transitions.add([job])


def add_after_another(broker: Broker, job: NewJob) -> None:
    """In the step that completes the one before it."""
    add_one(broker, NewJob(id="before", queue=QUEUE, name="n", message=PARTS % ("[]", "")))
    broker.sent()
    broker.store.transitions.complete([Completion("before", broker.claim("before"), "1", (job,))])


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("add", [add_one, add_after_another])
@pytest.mark.parametrize("body", list(BODIES))
@pytest.mark.parametrize("tag", list(TAGS))
def test_each_sending_has_one_tag_of_its_own(
    broker: Broker, add: Callable[[Broker, NewJob], None], tag: str, body: str, fresh: bool
) -> None:
    message = PARTS % (BODIES[body], TAGS[tag])
    add(broker, NewJob(id="a", queue=QUEUE, name="n", message=message, fresh=fresh))
    first = broker.sent()
    broker.store.transitions.complete([Completion("a", broker.claim("a"), "1")])
    broker.store.transitions.rerun("a")
    second = broker.sent()
    tags = [_without_tag(one, message) for one in (first, second)]
    assert len(set(tags)) == 2
    assert "its own" not in tags[1]
    (record,) = broker.store.queries.get(["a"])
    assert record is not None
    assert record.message == message


def _without_tag(sent: str, message: str) -> str:
    """Its tag, which is the last of its properties; all else is as it was given."""
    pairs: list[str] = []

    def noting(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs.extend(name for name, _ in found)
        return dict(found)

    parsed, given = json.loads(sent, object_pairs_hook=noting), json.loads(message)
    assert pairs.count("delivery_tag") == 1
    assert sent.endswith('"}}')
    tag = str(parsed["properties"].pop("delivery_tag"))
    given["properties"].pop("delivery_tag", None)
    assert parsed == given
    return tag
