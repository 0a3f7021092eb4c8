"""What one script touches does not grow with what is there: commands and elements are counted within each, on a
namespace that is large in every respect."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from typing import Any

import pytest
from redis import Redis

from stratix_kombu.errors import DependencyCycle
from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.finding import JobFilter
from stratix_kombu.model.metrics import KEPT_HOURS
from stratix_kombu.model.record import (
    ANY_CLAIM,
    KEEP_NONE,
    RUN,
    Completion,
    Deduplication,
    Failure,
    HandOver,
    Held,
    Limit,
    NewJob,
    Retention,
    Schedule,
    WorkerInfo,
)
from stratix_kombu.model.state import Action, State, Sweep
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import adding, open_redis_store, queries, schedules, scripts, transitions

SIZE = 6_000
PAGE = 20
BOUND = 3_000
"""Commands, and elements that they answer, of a script that touches at most a page and a thousand entries."""
COUNTING = """
local real, touched = redis, 0
local function counted(call)
  return function(command, ...)
    local answer = call(command, ...)
    touched = touched + 1
    if type(answer) == 'table' and command ~= 'HMGET' and not answer.err then
      for _, one in ipairs(answer) do
        touched = touched + (type(one) == 'table' and #one or 1)
      end
    end
    return answer
  end
end
local redis = setmetatable({{ call = counted(real.call), pcall = counted(real.pcall) }}, {{ __index = real }})
local function script()
{}
end
local answer = script()
real.call('SET', KEYS[1] .. ':touched', touched)
return answer
"""


class Large:
    """A store, its keys beside it, and the most that each script has touched."""

    def __init__(self, url: str) -> None:
        self.base = f"{{bounds{uuid.uuid4().hex[:8]}}}"
        self.store: Store = open_redis_store({"url": url}, namespace=self.base[1:-1])
        self.client: Any = Redis.from_url(url, decode_responses=True)
        self.touched: dict[str, int] = {}

    def key(self, name: str) -> str:
        return f"{self.base}:{name}"

    def add(self, prefix: str, **fields: Any) -> list[str]:
        """So many jobs of a queue of that name."""
        ids = [f"{prefix}{n}" for n in range(SIZE)]
        for start in range(0, SIZE, 2_000):
            jobs = [NewJob(id=one, queue=prefix, name="n", **fields) for one in ids[start : start + 2_000]]
            self.store.transitions.add(jobs)
        return ids

    def claim(self, queue: str, ids: Sequence[str], lease_ms: int = 600_000) -> list[Held]:
        claims = self.store.transitions.claim(queue, ids, "w", lease_ms).claims
        return [Held(one.record.id, one.token) for one in claims]

    def fill(self, name: str, members: Sequence[str], score: float = 1) -> None:
        self.client.zadd(self.key(name), dict.fromkeys(members, score))

    def settle(self, change: Any) -> None:
        while change.more:
            change = self.store.transitions.release(PAGE)


def _build(large: Large) -> None:
    waiting = large.add("waiting")
    large.add("delayed", delay_ms=1)
    large.fill("q:unsent:unsent", large.add("unsent", message="{}"))
    large.client.hset(large.key("q:unsent:meta"), mapping={"crowded": 1, "unsent_lines": 1})
    _set_aside(large, large.add("aside", limit=Limit("key", 1, 1)))
    old = large.add("old")
    large.client.rename(large.key("q:old:order"), large.key("q:old:waiting:0"))
    large.client.hdel(large.key("q:old:meta"), "old")
    large.fill("q:old:parked", old)
    leases = large.add("leases")
    for start in range(0, SIZE, 1_000):
        large.claim("leases", leases[start : start + 1_000], 1)
    failed = large.add("failed", keep_failed=Retention(age_ms=1))
    for start in range(0, SIZE, 1_000):
        held = large.claim("failed", failed[start : start + 1_000])
        large.store.transitions.fail([Failure(one.job_id, one.token, "no") for one in held])
    one = {"queue": "few", "name": "n"}
    large.store.transitions.add([NewJob(id="root", **one), NewJob(id="other", **one)])
    large.store.transitions.add([NewJob(id=f"big{n}", dependencies=tuple(waiting), **one) for n in range(3)])
    large.add("dependents", dependencies=("root",))
    large.add("twice", dependencies=("other",))
    fields = {"queue": "waiting", "name": "n", "rule": "{}", "template": "{}", "next_ms": 1}
    plans = {f"s{n}": json.dumps(asdict(Schedule(key=f"s{n}", **fields))) for n in range(SIZE)}  # type: ignore[arg-type]
    large.client.hset(large.key("schedules"), mapping=plans)
    large.fill("due", list(plans))
    names = [f"x{n}" for n in range(SIZE)]
    large.client.sadd(large.key("queues"), *names)
    large.fill("first:active", names)
    large.fill("first:delayed", names)
    large.fill("processes", names)
    large.fill("first:opens", names)
    large.client.rpush(large.key("limit:queue:few:window"), *[1] * SIZE)
    for key in ("q:few:groups:0", "q:few:lines", "q:unsent:unsent-lines"):
        large.fill(key, names)
    large.fill("q:few:dedup-until", names)
    for key, text in (
        ("q:waiting:serving", "1"),
        ("q:few:serving", "1"),
        ("process", "{}"),
        ("q:few:dedup", "1\n1:gone"),
    ):
        large.client.hset(large.key(key), mapping=dict.fromkeys(names, text))
    large.client.rpush(large.key("lost"), *['["a","b","c"]'] * SIZE)
    large.client.rpush(large.key("job:root:logs"), *["line"] * 1_000)  # more are not kept


def _set_aside(large: Large, ids: Sequence[str]) -> None:
    """All that wait for one limit."""
    order = large.key("q:aside:order")
    large.client.zunionstore(large.key("q:aside:line:t:key"), [order])
    large.client.rename(order, large.key("q:aside:aside"))
    large.fill("q:aside:lines", ["t:key"])
    large.client.hset(large.key("q:aside:meta"), "lined", 1)
    for one in ids:
        large.client.hset(large.key(f"job:{one}"), "line", "t:key")


@pytest.fixture
def large(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Large]:
    large = Large(redis_url)
    _build(large)
    for module in (adding, transitions, queries, scripts, schedules):
        monkeypatch.setattr(module, "PAGE", PAGE)
    monkeypatch.setattr(queries, "FOUND_AT_ONCE", PAGE)
    source, run = scripts.source, scripts.Scripts.run
    monkeypatch.setattr(scripts, "source", lambda name: COUNTING.format(source(name)))
    monkeypatch.setattr(scripts, "digest", lambda name: "0" * 40)

    def counts(self: Any, name: str, args: Sequence[Any], key: str | None = None, **how: Any) -> Any:
        answer = run(self, name, args, key, **how)
        touched = int(large.client.getdel(f"{large.base if key is None else key}:touched"))
        large.touched[name] = max(large.touched.get(name, 0), touched)
        return answer

    monkeypatch.setattr(scripts.Scripts, "run", counts)
    yield large
    large.store.close()
    large.client.delete(*large.client.scan_iter(f"{large.base}*", count=10_000))
    large.client.close()


def _read(store: Store) -> None:
    read = store.queries
    read.get(["root"])
    read.states(["root"])
    read.find("waiting", list(State))
    read.scan("waiting", State.WAITING, "", PAGE)
    read.status("waiting")
    assert read.overview("", PAGE, 20)
    for state in (State.WAITING, State.FAILED):
        where = JobFilter(name="a*b*c", reason="no*x", since_ms=1, until_ms=2**50)
        assert read.page(state.value, state, where, "", PAGE).looked == 1_000
    read.late_queues(1)
    read.metrics("waiting", 10)
    read.hours("waiting", KEPT_HOURS)
    read.names("waiting")
    read.totals("waiting")
    read.limit_ttl("few", Limit("queue:few", 5, 1_000))
    assert read.late_queues(0)
    for answer in (read.queues(), read.workers("waiting"), read.held("leases", "w"), read.dependencies("big0")):
        assert answer is not None
    read.dependents("root")
    read.edges(["big0", "root"])
    read.logs_after("root", 0)
    assert read.attempts("root") is not None
    assert read.processes("", PAGE) is not None
    assert read.failures("failed")[2] == 1_000
    contents = store.contents
    assert contents is not None
    kept = contents.read(["root", *(f"waiting{n}" for n in range(PAGE))])
    contents.write(kept)
    contents.write([replace(one, new=replace(one.new, id=f"copy:{one.new.id}")) for one in kept])
    contents.write_edges("copy:root", contents.edges("big0")[:PAGE])
    store.events.read("waiting", "0", PAGE)
    read.roots()
    store.schedules.all()


def _clock(large: Large) -> None:
    transitions = large.store.transitions
    for _ in range(3):
        large.store.clocks.lead("c", 1_000)
        large.store.clocks.resign("c")
        transitions.promote(PAGE)
        transitions.recover(1, PAGE)
        transitions.redeliver("waiting", 0, 0, PAGE)
        transitions.redeliver("unsent", 0, 0, PAGE)
        transitions.expire(PAGE)
        large.store.schedules.due(PAGE)
    while large.client.hget(large.key("q:old:meta"), "old") != "none":  # where the walk comes is random
        large.client.rpush(large.key("lost"), *['["a","b","c"]'] * 100)
        transitions.recover(1, PAGE)
    transitions.renew([WorkerInfo(id="w", queue="waiting")], [], 1_000)
    transitions.leave("w", ["waiting"])


def _by_hand(large: Large) -> None:
    transitions = large.store.transitions
    for queue in ("unsent", "aside"):
        transitions.pause(queue)
        transitions.take(queue, "w", 60_000, PAGE, permits=SIZE)
        transitions.resume(queue, PAGE)
        transitions.hold(queue, 1)
        large.settle(transitions.set_global_concurrency(queue, 0))
        transitions.set_limit(queue, None)
    for action, state, queue in (
        (Sweep.REMOVE, State.WAITING, "waiting"),
        (Sweep.RETRY, State.FAILED, "failed"),
        (Sweep.PROMOTE, State.DELAYED, "delayed"),
        (Sweep.REMOVE, State.BLOCKED, "few"),
    ):
        transitions.sweep(queue, action, state, 0, PAGE)
        large.store.queries.status(queue)
    transitions.change_delay("delayed5999", 60_000)
    transitions.promote_job("delayed5999")
    transitions.change_priority("delayed5999", 5)
    for each, name in ((Action.CANCEL, "old"), (Action.RETRY, "failed"), (Action.REMOVE, "aside")):
        large.settle(transitions.each(name, each, [f"{name}{n}" for n in range(4_000, 4_000 + PAGE)]))
    transitions.change_priority("aside5999", 5)
    transitions.redrive("root", 0, NewJob(id="again", queue="few", name="n"))
    transitions.forget_queue("few")
    transitions.remove_dependency("dependents5", "root")
    transitions.progress("root", "1")
    transitions.log("root", "line", 10)
    large.store.events.append("few", "mine")


def _graph(large: Large) -> None:
    """Edges in thousands; what a step leaves over is done."""
    transitions = large.store.transitions
    transitions.add_dependency("unsent1", "old1")
    for first, second in (("root", "dependents1"), ("waiting5999", "big1")):
        with pytest.raises(DependencyCycle):
            transitions.add_dependency(first, second)
    transitions.add_dependency("root", "big1")  # there is much on both sides
    transitions.remove_dependency("root", "big1")
    large.settle(transitions.cancel("waiting5998", "no"))
    large.settle(transitions.retry("waiting5998"))
    large.settle(transitions.remove("big2"))
    (held,) = large.claim("few", ["root"])
    large.settle(transitions.fail([Failure(*_token(held), "no")]))
    large.settle(transitions.retry("root"))
    (held,) = large.claim("few", ["root"])
    large.settle(transitions.complete([Completion(*_token(held), "1")]))
    large.settle(transitions.rerun("root", dependents=True))
    (held,) = large.claim("few", ["root"])
    large.settle(transitions.complete([Completion(*_token(held), "1")]))
    large.settle(transitions.remove("other"))


def _token(held: Held) -> tuple[str, str]:
    return held.job_id, held.token


def _run(large: Large) -> None:
    transitions, keep = large.store.transitions, Retention(count=1)
    new = NewJob(id="e", queue="few", name="n", deduplication=Deduplication("e", ttl_ms=5), keep_completed=keep)
    transitions.add([new])
    transitions.add([NewJob(id="fresh", queue="few", name="n", fresh=True)])
    transitions.add([NewJob(id="fresh task", queue="few", name="n", message="{}", fresh=True)])
    transitions.add([NewJob(id=f"many{n}", queue="few", name="n", fresh=True) for n in range(2)])
    bounds = Bounds(Limit("queue:few", 5, 1_000), 3, 1)
    transitions.claim("few", ["e"], "w", 1_000, bounds)
    transitions.add([NewJob(id=f"g{n}", queue="few", name="n", group=f"x{n}") for n in range(5)])
    for queue in ("few", "waiting", "aside", "unsent"):
        transitions.take(queue, "w", 1_000, PAGE, bounds, permits=5, request="again")
        transitions.take(queue, "w", 1_000, PAGE, bounds, permits=5, request="again")
        transitions.take(queue, "w", 1_000, PAGE)
    results = [
        Completion(*_token(one), "1") for one in large.claim("waiting", [f"waiting{n}" for n in range(4_000, 4_020)])
    ]
    for queue in ("few", "waiting", "aside", "unsent"):
        transitions.complete_and_take(results, queue, "w", 1_000, PAGE, bounds, permits=5)
    transitions.add([NewJob(id="f", queue="failed", name="n", keep_failed=keep)])
    (held,) = large.claim("failed", ["f"])
    transitions.fail([Failure(*_token(held), "no")])
    one, two = large.claim("waiting", ["waiting5000", "waiting5001"])
    transitions.hand_back([one])
    transitions.hand_over([HandOver(*_token(two), ())])
    large.store.schedules.put(Schedule(key="s", queue="few", name="n", rule="{}", template="{}", next_ms=9))
    run = NewJob(id="repeat:s:9", queue="runs", name="n", keep_completed=KEEP_NONE, kind=RUN)
    large.store.schedules.fire("s", 9, 10, run)
    large.store.schedules.ran("s", "repeat:s:x")
    transitions.complete([Completion("repeat:s:9", ANY_CLAIM, "1")])
    large.store.locks.acquire("lock", "t", 1_000)
    large.store.locks.extend("lock", "t", 1_000)


def test_no_script_touches_more_than_its_page(large: Large) -> None:
    _read(large.store)
    _graph(large)
    _run(large)
    _clock(large)
    _by_hand(large)
    there = {one.name.removesuffix(".lua") for one in (files(scripts.__package__) / "lua").iterdir() if "." in one.name}
    assert there - large.touched.keys() == set(), "scripts that this test does not call"
    assert {name: count for name, count in large.touched.items() if count > BOUND} == {}


def test_what_counts_would_find_a_script_that_reads_everything(large: Large, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "source", lambda name: COUNTING.format("return #redis.call('HGETALL', ARGV[1])"))
    scripts_of: Any = large.store.queries
    scripts_of._scripts.run("states", [large.key("schedules")])
    assert large.touched["states"] > BOUND
