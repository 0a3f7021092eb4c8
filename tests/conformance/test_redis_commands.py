"""How many commands the server runs for a job, which is most of what a job costs it."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable

import pytest
from redis import Redis

from stratix_kombu.model.record import Completion, InlineQueue, NewJob
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import open_redis_store

JOBS = 100
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
