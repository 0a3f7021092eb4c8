"""How many commands the server runs for a job, which is most of what a job costs it."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from redis import Redis

from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.record import JOIN, KEEP_NONE, Claim, Completion, InlineQueue, Limit, NewJob, Retention
from stratix_kombu.model.state import Refusal, State
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import open_redis_store

JOBS = 100
MESSAGE = '{"body":"[]","headers":{"task":"n"},"properties":{"priority":0}}'
TEMPLATE = '{"headers":{"task":"stratix.job","id":"%s"},"properties":{"delivery_tag":"%s","routing_key":"%s"}}'


def _commands(url: str, namespace: str, step: Callable[[], object]) -> Counter[str]:
    """Those of a step that name a key of the namespace, within scripts."""
    end, found = uuid.uuid4().hex, Counter[str]()
    with Redis.from_url(url) as client, client.monitor() as monitor:
        step()
        client.echo(end)
        for command in monitor.listen():
            if end in command["command"]:
                return found
            name = command["command"].partition(" ")[0].upper()
            if namespace in command["command"] and not name.startswith("EVAL"):
                found[name] += 1
    raise AssertionError("the server has stopped reporting")


def _drain(store: Store, slots: int) -> None:
    claims = store.transitions.take("q", "w", 60_000, slots).claims
    done = 0
    while claims:
        done += len(claims)
        results = [Completion(one.record.id, one.token, "1") for one in claims]
        claims = store.transitions.complete_and_take(results, "q", "w", 60_000, slots)[1].claims
    assert done == JOBS


@pytest.mark.parametrize(("slots", "of_each_call"), [(50, 20), (10, 14), (1, 15)])
def test_commands_of_a_job(redis_url: str, slots: int, of_each_call: int) -> None:
    """To add it: seven. To take and complete it: its record is read twice and written twice, and there are two events;
    the rest is that of a call, however many jobs it is about."""
    namespace = f"commands{uuid.uuid4().hex[:8]}"
    store = open_redis_store({"url": redis_url}, namespace=namespace)
    store.deliver_through(InlineQueue("", f"{namespace}.", ("",) * 10, TEMPLATE))
    jobs = [NewJob(id=uuid.uuid4().hex, queue="q", name="n", fresh=True) for _ in range(JOBS)]
    added = _commands(redis_url, namespace, lambda: [store.transitions.add([one]) for one in jobs])
    assert added.total() <= 7 * JOBS + 1, added
    drained = _commands(redis_url, namespace, lambda: _drain(store, slots))
    assert drained.total() <= 6 * JOBS + of_each_call * (JOBS // slots + 1), drained
    assert (drained["XADD"], drained["HGETALL"]) == (2 * JOBS + 1, JOBS)  # and one event says that it is drained
    store.close()


def test_commands_of_many_jobs(redis_url: str) -> None:
    """Two for each; the rest is that of the call: two priorities, the number, the order, the broker's list, the answer
    that is kept. Each job has a permit of its own."""
    namespace = f"commands{uuid.uuid4().hex[:8]}"
    store = _delivering(redis_url, namespace)
    jobs = [NewJob(id=uuid.uuid4().hex, queue="q", name="n", priority=n % 2, fresh=True) for n in range(JOBS)]
    added = _commands(redis_url, namespace, lambda: store.transitions.add(jobs))
    assert (added["HSET"], added["XADD"], added["ZADD"], added["LPUSH"]) == (JOBS, JOBS, 1, 1), added
    assert added.total() <= 2 * JOBS + 9, added
    with Redis.from_url(redis_url) as client:
        permits = [json.loads(one) for one in client.lrange(f"{namespace}.q", 0, -1)]
    tags = {one["properties"]["delivery_tag"] for one in permits}
    assert len(tags) == len(permits) == JOBS
    (name,) = {one["properties"]["routing_key"] for one in permits}
    assert (name, permits[0]["headers"]["id"]) == (f"{namespace}.q", permits[0]["properties"]["delivery_tag"])
    store.close()


def _delivering(url: str, namespace: str) -> Store:
    """A store that puts messages into the lists of a broker on its own server."""
    store = open_redis_store({"url": url}, namespace=namespace)
    at = urlsplit(url)
    suffixes = ("", *(f"-{one}" for one in range(1, 10)))
    address = f"{at.hostname}:{at.port}/{at.path.strip('/') or 0}"
    store.deliver_through(InlineQueue(address, f"{namespace}.", suffixes, TEMPLATE))
    return store


def test_commands_of_a_task(redis_url: str) -> None:
    """Seven to add it, ten to claim it, ten to complete it, whatever that replaces, besides asking for the time."""
    namespace = f"commands{uuid.uuid4().hex[:8]}"
    store = _delivering(redis_url, namespace)
    keep = Retention(age_ms=60_000)
    tasks = [
        NewJob(
            id=str(uuid.uuid4()),
            queue="q",
            name="n",
            message=MESSAGE,
            keep_completed=keep,
            keep_failed=keep,
            max_stalled=0,
            anew=True,
            fresh=True,
        )
        for _ in range(20)
    ]
    added = _commands(redis_url, namespace, lambda: [store.transitions.add([one]) for one in tasks])
    assert (added.total(), added["HSET"], added["LPUSH"]) == (7 * 20, 20, 20), added

    claims: list[Claim] = []

    def claim() -> None:
        for one in tasks:
            claims.extend(store.transitions.claim("q", [one.id], "w", 60_000).claims)

    claimed = _commands(redis_url, namespace, claim)
    assert claimed.total() <= 10 * 20, claimed
    assert (claimed["HMGET"], claimed["HGET"], claimed["EXISTS"]) == (2 * 20, 0, 0), claimed

    def complete() -> None:
        for one in claims:
            store.transitions.complete([Completion(one.record.id, one.token, "1", data="{}", message=MESSAGE)])

    completed = _commands(redis_url, namespace, complete)
    assert completed.total() <= 10 * 20 + 2, completed  # and whether it is drained, and that
    assert (completed["HMGET"], completed["GET"]) == (2 * 20, 0), completed
    assert {one.state for one in store.queries.get([one.id for one in tasks]) if one} == {State.COMPLETED}
    store.close()


def test_a_completion_does_not_ask_whether_a_queue_is_drained_in_which_tasks_wait(redis_url: str) -> None:
    """None is active after each one, as with few processes; only the last one has to look further."""
    namespace = f"commands{uuid.uuid4().hex[:8]}"
    store = _delivering(redis_url, namespace)
    tasks = [NewJob(id=uuid.uuid4().hex, queue="q", name="n", message=MESSAGE, fresh=True) for _ in range(20)]
    store.transitions.add(tasks)

    def run() -> None:
        for one in tasks:
            (claim,) = store.transitions.claim("q", [one.id], "w", 60_000).claims
            store.transitions.complete([Completion(one.id, claim.token, "1")])

    assert _commands(redis_url, namespace, run)["EXISTS"] == 2 * 20 + 1
    store.close()


def test_commands_of_a_step_of_a_chain(redis_url: str) -> None:
    """The placeholder of the next task is looked at, goes, and becomes that task, which is claimed like any other."""
    namespace = f"commands{uuid.uuid4().hex[:8]}"
    store = _delivering(redis_url, namespace)
    ids = [uuid.uuid4().hex for _ in range(22)]
    vacant = [NewJob(id=one, queue="q", name="n", vacant=True, dependencies=(before,)) for before, one in pairwise(ids)]
    store.transitions.add([NewJob(id=ids[0], queue="q", name="n", message=MESSAGE, carries=tuple(ids[1:])), *vacant])

    def run() -> None:
        for at in range(20):
            (claim,) = store.transitions.claim("q", [ids[at]], "w", 60_000).claims
            carries = tuple(ids[at + 2 :])
            following = NewJob(id=ids[at + 1], queue="q", name="n", message=MESSAGE, carries=carries)
            store.transitions.complete([Completion(ids[at], claim.token, "1", (following,))])

    found = _commands(redis_url, namespace, run)
    assert found.total() <= 41 * 20, found
    assert (found["GET"], found["LPUSH"]) == (0, 20), found
    assert store.queries.states(ids) == [State.COMPLETED] * 20 + [State.WAITING, State.BLOCKED]
    assert len({one.created_ms for one in store.queries.get(ids) if one}) == 1
    store.close()


def test_commands_of_a_part_of_a_chord(redis_url: str) -> None:
    """Seven more to complete it than another task: what depends on it learns of that, and is not read as a whole."""
    namespace = f"commands{uuid.uuid4().hex[:8]}"
    store = _delivering(redis_url, namespace)
    parts = [NewJob(id=str(uuid.uuid4()), queue="q", name="n", message=MESSAGE) for _ in range(21)]
    ids = tuple(one.id for one in parts)
    join = NewJob(id="join", queue="q", name="join", message=MESSAGE, kind=JOIN, optional=True, dependencies=ids)
    store.transitions.add([*parts, join])
    claims = store.transitions.claim("q", ids, "w", 60_000).claims
    ends = [Completion(one.record.id, one.token, "1") for one in claims]

    completed = _commands(redis_url, namespace, lambda: [store.transitions.complete([one]) for one in ends[:20]])
    assert completed.total() <= 18 * 20 + 2, completed
    assert completed["HMGET"] == 3 * 20, completed
    assert store.queries.get(["join"])[0].pending == 1  # type: ignore[union-attr]
    store.transitions.complete(ends[20:])
    assert store.queries.states(["join"]) == [State.WAITING]
    together = _commands(redis_url, namespace, lambda: store.queries.depends_on("join"))
    assert together.total() <= 22, together


def test_commands_of_a_task_that_is_not_kept(redis_url: str) -> None:
    """It goes with its end, which leaves word of it for a minute: for who waits for it, and for who ended it."""
    namespace = f"commands{uuid.uuid4().hex[:8]}"
    store = open_redis_store({"url": redis_url}, namespace=namespace)
    run = NewJob(id="repeat:key:1", queue="q", name="n", message=MESSAGE, keep_completed=KEEP_NONE)
    tasks = [NewJob(id=f"{n}", queue="q", name="n", message=MESSAGE, keep_completed=KEEP_NONE) for n in range(20)]
    waits = NewJob(id="waits", queue="q", name="n", message=MESSAGE, dependencies=("19",))
    store.transitions.add([*tasks, run])
    store.transitions.add([waits])
    claims = store.transitions.claim("q", [one.id for one in (*tasks, run)], "w", 60_000).claims
    *alone, awaited, of_schedule = (Completion(one.record.id, one.token, f'"{one.record.id}"') for one in claims)

    def complete() -> None:
        for one in alone:
            store.transitions.complete([one])

    completed = _commands(redis_url, namespace, complete)
    assert completed.total() <= 11 * 19, completed
    assert (completed["HSET"], completed["ZADD"]) == (0, 0), completed
    store.transitions.complete([awaited, of_schedule])
    ids = [one.id for one in (*tasks, run)]
    assert store.queries.states(ids) == [None] * 21
    assert [one and (one.state, one.result) for one in store.queries.ended(ids)] == [
        (State.COMPLETED, f'"{job_id}"') for job_id in ids
    ]
    assert not store.transitions.complete([*alone, awaited, of_schedule]).stale
    assert store.queries.states(["waits"]) == [State.WAITING]
    with Redis.from_url(redis_url, decode_responses=True) as client:
        left = {key.rpartition(":job:")[2] for key in client.scan_iter(f"*{namespace}*:job:*", count=10_000)}
    assert left == {"waits", "waits:dependencies", "19:dependents"}
    store.close()


def test_a_message_of_its_own_is_sent_as_it_is_with_a_tag(redis_url: str) -> None:
    namespace = f"commands{uuid.uuid4().hex[:8]}"
    store = _delivering(redis_url, namespace)
    tasks = [
        NewJob(id=uuid.uuid4().hex, queue="q", name="n", message=MESSAGE, priority=at, fresh=True) for at in (0, 3)
    ]
    for task in tasks:
        store.transitions.add([task])
    with Redis.from_url(redis_url) as client:
        sent = [json.loads(client.lpop(f"{namespace}.q{suffix}") or b"") for suffix in ("", "-3")]
    tags = [one["properties"].pop("delivery_tag") for one in sent]
    assert sent == [json.loads(MESSAGE)] * 2
    assert [tag.partition(".")[0] for tag in tags] == [task.id for task in tasks]
    assert [one.message for one in store.queries.get([task.id for task in tasks]) if one] == [MESSAGE] * 2
    store.close()


def test_a_task_that_was_refused_once_is_claimed_like_any_other(redis_url: str) -> None:
    """Also where a second message of it comes before the one that is sent when its queue opens."""
    namespace = f"commands{uuid.uuid4().hex[:8]}"
    store = open_redis_store({"url": redis_url}, namespace=namespace)
    first, second, third = (NewJob(id=one, queue="q", name="n", message=MESSAGE) for one in "abc")
    store.transitions.add([first, second, third])
    closed = Bounds(limit=Limit("key", 1, 60_000))
    claim = store.transitions.claim
    assert claim("q", ["a"], "w", 60_000, closed).claims
    assert [one.why for one in claim("q", ["b", "c"], "w", 60_000, closed).refused] == [Refusal.LIMITED] * 2
    begun = claim("q", ["b"], "w", 60_000, request="once")
    assert [one.record.id for one in begun.claims] == ["b"]
    assert [one.token for one in claim("q", ["b"], "w", 60_000, request="once").claims] == ["once:0"]
    with Redis.from_url(redis_url, decode_responses=True) as client:
        (unsent,) = client.scan_iter(f"*{namespace}*:q:q:unsent", count=10_000)
        assert client.zrange(unsent, 0, -1) == ["c"]
    store.close()
