"""Concurrency (https://docs.celeryq.dev/en/stable/userguide/concurrency/), and optimizing: what a worker is started
with."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chord

from tests.celery.beside import Side, beside, value

POOLS = {
    "prefork": "The default option, ideal for CPU-bound tasks and most use cases",
    "gevent": "Designed for IO-bound tasks, these models use greenlets for high concurrency",
    "solo": "Executes tasks sequentially in the main thread",
    "threads": "Utilizes threading for concurrency",
}
"""The page's words on each."""
OPTIMIZED: dict[str, Any] = {
    "late": True,
    "worker_prefetch_multiplier": 1,
    "worker_max_tasks_per_child": 2,
    "broker_pool_limit": 2,
    "worker_cancel_long_running_tasks_on_connection_loss": True,
}


def use(side: Side) -> Any:
    """What a worker of any pool must be able to do."""
    add, total = side.task("add"), side.task("total")
    together = chord([add.s(i, i) for i in range(4)], total.s()).apply_async()
    later = add.apply_async((1, 2), countdown=0.1)
    return [
        value(together),
        value(later),
        value(side.task("flaky").delay("x", 1, 0.01)),
        value(side.task("boom").delay()),
    ]


@pytest.mark.parametrize("pool", POOLS)
def test_pools(redis_url: str, pool: str) -> None:
    with beside(redis_url, redis_url, pool) as pair:
        assert pair.both(use) == [12, 3, ["x", 1], "builtins.ValueError: boom"], POOLS[pool]


def test_settings_of_the_page_on_optimizing(redis_url: str) -> None:
    """Late acknowledgement with a multiplier of one; children that are replaced; a small pool of connections."""
    with beside(redis_url, redis_url, "prefork", 2, **OPTIMIZED) as pair:
        assert pair.both(use) == [12, 3, ["x", 1], "builtins.ValueError: boom"]
        for side in (pair.stock, pair.bridge):
            results = [side.task("pid").delay() for _ in range(9)]
            pids = [value(one) for one in results]
            assert max(pids.count(one) for one in pids) <= 2, "each process runs two tasks at most"


def test_prefetching_is_disabled(redis_url: str) -> None:
    """worker_disable_prefetch: "fetches a new task only when an execution slot is free"."""
    with beside(redis_url, redis_url, "threads", 2, worker_disable_prefetch=True) as pair:
        assert pair.both(use) == [12, 3, ["x", 1], "builtins.ValueError: boom"]
