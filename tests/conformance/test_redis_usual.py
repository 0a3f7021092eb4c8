"""Redis: steps that are as most are go a shorter way through their scripts, which leaves the same as the long one."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis

from stratix_kombu.model.record import KEEP_NONE, Completion, Deduplication, InlineQueue, Limit, NewJob, Retention
from stratix_kombu.stores.redis import RedisStore, open_redis_store, scripts

MESSAGE = '{"body":"%s","headers":{"task":"n"},"properties":{"priority":0}}'
TAGGED = '{"body":"%s","headers":{"task":"n"},"properties":{"priority":0,"delivery_tag":"%s.own"}}'
TEMPLATE = '{"headers":{"task":"stratix.job","id":"%s"},"properties":{"delivery_tag":"%s","routing_key":"%s"}}'
SHORT = {"includes/complete_usual": "local is_completed = false\n", "includes/claim_usual": ""}
"""What stands in place of the short ways."""
INSTANT = re.compile(r"(?<!\d)1[5-9]\d{11}(\d{3})?(?!\d)")
TAG = re.compile(r'("delivery_tag":"|"task":"stratix.job","id":")(job-\d+)?[^"]*')


@contextmanager
def only_the_long_ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    code = scripts._code
    with monkeypatch.context() as patch:
        patch.setattr(scripts, "_code", lambda name: SHORT[name] if name in SHORT else code(name))
        for cached in (scripts.source, scripts.digest):
            cached.cache_clear()
        yield
    for cached in (scripts.source, scripts.digest):
        cached.cache_clear()


class Seen:
    """A store that puts messages into lists of its server, and all that it has written there."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(url, decode_responses=True)
        self._namespace = f"usual{uuid.uuid4().hex[:8]}"
        parts = urlsplit(url)
        address = f"{parts.hostname}:{parts.port}{parts.path}"
        self.store: RedisStore = open_redis_store({"url": url}, namespace=self._namespace)
        suffixes = ("", *(f"-{n}" for n in range(1, 10)))
        self.store.deliver_through(InlineQueue(address, f"{self._namespace}.", suffixes, TEMPLATE))

    def all(self) -> dict[str, Any]:
        found = dict[str, Any]()
        for key in self._client.scan_iter(f"*{self._namespace}*", count=10_000):
            name = key.replace(self._namespace, "")
            if ":asked:" not in name:
                found[name] = self._plain(self._value(key))
        return found

    def _value(self, key: str) -> Any:
        kind, client = self._client.type(key), self._client
        if kind == "hash":
            return client.hgetall(key)
        if kind == "zset":
            return client.zrange(key, 0, -1, withscores=not key.endswith((":active", ":first:active")))
        if kind == "stream":
            events = [fields for _, fields in client.xrange(key)]  # type: ignore[union-attr]
            return sorted(events, key=lambda one: one.get("i", ""))  # of each job in order; jobs of a step have none
        if kind == "list":
            return client.llen(key) if key.endswith(":noted") else client.lrange(key, 0, -1)
        return sorted(client.smembers(key)) if kind == "set" else client.get(key)

    def _plain(self, value: Any) -> str:
        """Without instants, and what is made of them."""
        if isinstance(value, dict):  # an empty text stands for nothing
            value = sorted(item for item in value.items() if item[1])
        return INSTANT.sub("T", TAG.sub(r"\1\2", repr(value))).replace(self._namespace, "")

    def close(self) -> None:
        self.store.close()
        self._client.close()


def task(job_id: str, tagged: bool = False, **fields: Any) -> NewJob:
    message = TAGGED % (job_id, job_id) if tagged else MESSAGE % job_id
    return NewJob(**{"id": job_id, "queue": "q", "name": "n", "message": message, **fields})


class Programme:
    """A random one: chains, groups and whatever else tasks add, of which parts are unusual in some way. Its ids are the
    same each time it is run."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.count = 0
        self.awaited = "job-1"

    def some(self, chance: float) -> bool:
        return self.random.random() < chance

    def new_id(self) -> str:
        self.count += 1
        return f"job-{self.count}"

    def fields(self) -> dict[str, Any]:
        known = f"job-{self.random.randint(1, self.count)}"
        usual: list[dict[str, Any]] = [
            {"queue": "other"},
            {"priority": self.random.choice([3, 9])},
            {"keep_completed": self.random.choice([Retention(age_ms=90_000), KEEP_NONE])},
            {"max_stalled": 0, "anew": True},
            {"options": '{"a":1}'},
            {"max_attempts": 3},
            {"dead_letter": "dead"},
            {"limit": Limit("key", 1, 60_000)},
            {"kind": "letter"},
            {"optional": True},
            {"fresh": True},
            {"tagged": True},
        ]
        others: list[dict[str, Any]] = [
            {"keep_completed": Retention(count=2)},
            {"group": "g"},
            {"message": ""},
            {"forward": True},
            {"delay_ms": 60_000},
            {"dependencies": (known,)},
            {"deduplication": Deduplication("same")},
            {"carries": (known,)},
        ]
        found = dict[str, Any]()
        while self.some(0.4):
            found.update(self.random.choice(usual))
        if self.some(0.15):
            found.update(self.random.choice(others))
        return found

    def chain(self) -> tuple[NewJob, list[NewJob]]:
        """Its first task, and the vacant ones behind it."""
        ids = [self.new_id() for _ in range(self.random.choice([1, 1, 2, 3, 4]))]
        first = task(ids[0], carries=tuple(ids[1:]), **({"keep_completed": KEEP_NONE} if self.some(0.3) else {}))
        vacant = [
            NewJob(
                **{"id": one, "queue": "q", "name": "n", "dependencies": (before,), **self.placeholder()}, vacant=True
            )
            for before, one in pairwise(ids)
        ]
        return first, vacant

    def placeholder(self) -> dict[str, Any]:
        choices: list[dict[str, Any]] = [{"queue": "other"}, {"priority": 2}, {"optional": True}, {"max_attempts": 2}]
        return self.random.choice(choices) if self.some(0.2) else {}

    def successors(self, chains: dict[str, list[str]], of: str) -> tuple[NewJob, ...]:
        """What the task adds: the next one of its chain, or others, or both."""
        found = list[NewJob]()
        following = chains.pop(of, [])
        if following:
            following_id, *rest = following
            carries = rest if self.some(0.8) else self.random.sample(rest, len(rest))
            found.append(task(following_id, **{**self.fields(), "carries": tuple(carries)}))
            chains[following_id] = rest
        while self.some(0.5):
            known = self.random.choice([self.awaited, f"job-{self.random.randint(1, self.count)}"])
            found.append(task(known if self.some(0.2) else self.new_id(), **self.fields()))
        self.random.shuffle(found)
        return tuple(found)

    def left(self) -> dict[str, str]:
        """What a completion leaves in place of what the job was added with."""
        given = {"data": "[2]", "message": MESSAGE % "left"}
        return {name: text for name, text in given.items() if self.some(0.4)}

    def run(self, store: RedisStore) -> list[tuple[str, ...]]:
        """Which completions were refused."""
        transitions, stale = store.transitions, list[tuple[str, ...]]()
        begun = [self.chain() for _ in range(self.random.randint(1, 3))]
        chains = {first.id: [one.id for one in vacant] for first, vacant in begun}
        for first, vacant in begun:
            transitions.add([first, *vacant])
        active = [first.id for first, _ in begun]
        if self.some(0.4):  # somebody else waits for one of them
            self.awaited = f"job-{self.random.randint(1, self.count)}"
            transitions.add([NewJob(id="waits", queue="q", name="n", dependencies=(self.awaited,))])
        for step in range(4):
            claims = transitions.claim("q", active, "w", 60_000, request=f"step-{step}").claims if active else ()
            ends = [
                Completion(one.record.id, one.token, '"r"', self.successors(chains, one.record.id), **self.left())
                for one in claims
            ]
            parts = [ends] if self.some(0.5) else [[one] for one in ends]
            for part in parts:
                stale += [transitions.complete(part).stale for _ in range(1 + self.some(0.3))]  # an answer may be lost
            active = list(dict.fromkeys(one.id for end in ends for one in end.then if one.message))
        return stale


@pytest.fixture
def pair(redis_url: str) -> Iterator[tuple[Seen, Seen]]:
    both = Seen(redis_url), Seen(redis_url)
    yield both
    for one in both:
        one.close()


def leave_the_same(monkeypatch: pytest.MonkeyPatch, pair: tuple[Seen, Seen], run: Callable[[RedisStore], Any]) -> None:
    short, long = pair
    answered = run(short.store)
    with only_the_long_ways(monkeypatch):
        assert run(long.store) == answered
    found, expected = short.all(), long.all()
    differ = {key: (found.get(key), expected.get(key)) for key in found.keys() | expected.keys()}
    assert {key: both for key, both in differ.items() if both[0] != both[1]} == {}


@pytest.mark.parametrize("seed", range(100))
def test_both_ways_leave_the_same(monkeypatch: pytest.MonkeyPatch, pair: tuple[Seen, Seen], seed: int) -> None:
    leave_the_same(monkeypatch, pair, lambda store: Programme(seed).run(store))


def test_a_task_under_the_id_of_one_that_has_gone_and_is_still_known_to_its_dependents(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[Seen, Seen]
) -> None:
    def run(store: RedisStore) -> None:
        waits = NewJob(id="waits", queue="q", name="n", dependencies=("a", "c"))
        store.transitions.add([task("a", keep_completed=KEEP_NONE), task("b"), task("c"), waits])
        first, second = store.transitions.claim("q", ["a", "b"], "w", 60_000, request="once").claims
        store.transitions.complete([Completion("a", first.token, "1")])
        store.transitions.complete([Completion("b", second.token, "1", (task("a"),))])

    leave_the_same(monkeypatch, pair, run)
