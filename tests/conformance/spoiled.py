"""A store on Redis, and what somebody else does to its keys."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.record import Change, Completion, Failure, NewJob
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import open_redis_store

LEASE_MS = 600_000
MESSAGE = '{"body":"","headers":{},"properties":{}}'
NUMBERS = (
    "created",
    "due",
    "started",
    "finished",
    "made",
    "begun",
    "max",
    "stalled",
    "stalls",
    "pending",
    "claims",
    "waited",
    "sends",
    "waiting",
    "place",
)
TEXTS = ("opts", "limit", "group", "keep_completed", "keep_failed", "dead", "dedup", "failed_by")


class Spoiled:
    """A store with jobs, and what somebody else does to its keys."""

    def __init__(self, url: str) -> None:
        self.base = f"{{lost{uuid.uuid4().hex[:8]}}}"
        self.store: Store = open_redis_store({"url": url}, namespace=self.base[1:-1])
        self.client: Any = Redis.from_url(url, decode_responses=True)
        self.lost: list[tuple[str, str]] = []

    def add(self, *ids: str, **fields: Any) -> None:
        self.store.transitions.add([NewJob(id=one, queue="q", name="n", **fields) for one in ids])

    def claim(self, *ids: str, lease_ms: int = LEASE_MS, most: int = 0) -> dict[str, str]:
        claimed = self.store.transitions.claim("q", ids, "w", lease_ms, Bounds(global_concurrency=most))
        return {one.record.id: one.token for one in claimed.claims}

    def take(self, want: int) -> list[str]:
        return [one.record.id for one in self.store.transitions.take("q", "w", LEASE_MS, want).claims]

    def complete(self, *ids: str) -> Change:
        ends = [Completion(one, token, "1") for one, token in self.claim(*ids).items()]
        return self.released(self.store.transitions.complete(ends))

    def fail(self, *ids: str) -> Change:
        ends = [Failure(one, token, "no") for one, token in self.claim(*ids).items()]
        return self.released(self.store.transitions.fail(ends))

    def released(self, change: Change) -> Change:
        while change.more:
            change = self.store.transitions.release()
        return change

    def state(self, job_id: str) -> str:
        (record,) = self.store.queries.get([job_id])
        return record.state.value if record else "gone"

    def spoil(self, job_id: str, way: str) -> None:
        key = f"{self.base}:job:{job_id}"
        if way in ("gone", "type"):
            self.client.delete(key)
        if way == "type":
            self.client.set(key, "something else")
        elif way == "fields":
            self.client.hset(key, mapping=dict.fromkeys([*NUMBERS, *TEXTS], "\ud7ff{no"))
        elif way in ("name", "queue"):
            self.client.hdel(key, way)
        elif way in ("state", "prio"):
            self.client.hset(key, way, "{no")
        elif way == "place":
            self.client.hset(key, "state", "blocked" if self.client.hget(key, "state") != "blocked" else "active")

    def recover(self) -> Change:
        change = self.store.transitions.recover(1)
        self.lost += [(one.id, one.why) for one in change.lost]
        return change

    def clock(self) -> None:
        """Everything the clock does, to its end."""
        transitions = self.store.transitions
        steps: list[Callable[[], Change]] = [
            lambda: transitions.promote()[0],
            self.recover,
            transitions.release,
            transitions.expire,
            lambda: transitions.redeliver("q", 60_000, 0),
        ]
        for step in steps:
            for _ in range(20):
                change = step()
                if not change.more:
                    break
            else:
                pytest.fail("a step of the clock does not come to its end")
        self.store.schedules.due()
