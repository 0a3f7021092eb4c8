"""Tasks on threads: what several of them ask of the store at the same time is one step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from stratix_kombu.celery.gathered import Gathered
from stratix_kombu.model.record import Claim, Completion
from stratix_kombu.model.state import Refusal
from tests.celery.workers import Project
from tests.waiting import WAIT_S, until


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(10) as threads:
        yield threads


class Held:
    """A step of the store that waits until its gate is open; ``sizes``: of how many jobs each call was."""

    def __init__(self, step: Callable[..., Any], jobs: int) -> None:
        self.gate = threading.Event()
        self.sizes: list[int] = []
        self._step = step
        self._jobs = jobs

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        self.sizes.append(len(arguments[self._jobs]))
        assert self.gate.wait(WAIT_S)
        return self._step(*arguments, **more)


def all_at_once(pool: ThreadPoolExecutor, held: Held, gathered: Gathered[Any, Any], calls: list[Any]) -> list[Any]:
    """What the calls answer: the first one's step is under way when all others ask."""
    asked = [pool.submit(calls[0])]
    until(lambda: held.sizes == [1], WAIT_S)
    asked += [pool.submit(call) for call in calls[1:]]
    until(lambda: len(gathered._waiting) == len(calls) - 1, WAIT_S)
    held.gate.set()
    return [one.result(WAIT_S) for one in asked]


def test_claims_and_completions_of_threads_go_together(
    on_redis: Project, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is granted or refused by itself: a message that came twice, a lease that was lost."""
    bridge, queue = on_redis.app.stratix_bridge, on_redis.queue
    claims, transitions = bridge.claims, bridge.engine.store.transitions
    served = claims.served(queue.name)
    ids = [on_redis.task("add").delay(1, number).id for number in range(6)]
    claim = Held(transitions.claim, 1)
    monkeypatch.setattr(transitions, "claim", claim)
    asked = [*ids, ids[3], "nobody's"]
    try:
        calls = [partial(claims.claim, queue.name, one) for one in asked]
        found = all_at_once(pool, claim, served.claiming, calls)
        assert claim.sizes == [1, 6, 1]  # the second copy goes by itself
        granted = [one for one in found if isinstance(one, Claim)]
        assert sorted(one.record.id for one in granted) == sorted(ids)
        assert len({one.token for one in granted}) == 6
        assert found[-1] is Refusal.GONE
        tokens = {one.record.id: one.token for one in granted}

        complete = Held(transitions.complete, 0)
        monkeypatch.setattr(transitions, "complete", complete)
        tokens[ids[2]] = "another's"

        def settle(job_id: str) -> bool:
            success = Completion(job_id, tokens[job_id], f'"{job_id}"')
            return bool(claims.settling(queue.name, tokens[job_id], False).settle(job_id, lambda: None, success))

        accepted = all_at_once(pool, complete, served.completing, [partial(settle, one) for one in ids])
        assert complete.sizes == [1, 5]
        assert accepted == [True, True, False, True, True, True]
        states = [queue.get_job(one).state for one in ids]
        assert states == ["completed", "completed", "active", "completed", "completed", "completed"]
        assert on_redis.app.AsyncResult(ids[5]).result == ids[5]
    finally:
        claims.stop()
