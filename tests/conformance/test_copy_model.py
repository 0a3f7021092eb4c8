"""Random programs that move on to other stores in between: what was copied is read as before, and all goes on alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from stratix_kombu.lifecycle.copying import Copy
from stratix_kombu.model.limiter import limit_value
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Store
from tests.conformance.opened import one_of_each
from tests.conformance.seen import plain
from tests.conformance.test_store_model import DEAD, IDS, QUEUES, Stores
from tests.conformance.test_take_model import TakingStores

EXAMPLES = 10


class _Moving:
    opened: Callable[[], list[Store]]
    stores: list[Store]
    last: Any
    moves = 0

    @rule()
    @precondition(lambda self: self.moves < 2)
    def move(self) -> None:
        """Each store is copied into an empty one of the next kind."""
        self.moves += 1
        self.last = None
        for store in self.stores:
            _rest(store)
        before = [_seen(store) for store in self.stores]
        fresh = type(self).opened()
        for source, target in zip(self.stores, [*fresh[1:], fresh[0]], strict=True):
            Copy(source, target, "here", lambda count: None).run()
            known = source.queries.queues()
            assert _kept(target, known) == _kept(source, known)
            assert target.queries.dependency_results("a") == source.queries.dependency_results("a")
        after = [_seen(store) for store in [*fresh[1:], fresh[0]]]
        for store in self.stores:
            store.close()
        self.stores = fresh
        assert after == before


class MovingStores(_Moving, Stores):
    """With jobs that are claimed by id, of all kinds."""


class MovingQueues(_Moving, TakingStores):
    """With jobs that are taken in their order."""


def _rest(store: Store) -> None:
    """No worker is there, and no job is active."""
    for worker in "wv":
        for queue in (*QUEUES, DEAD):
            store.transitions.hand_back(store.queries.held(queue, worker))
        store.transitions.leave(worker, [*QUEUES, DEAD])
    while store.transitions.release().more:
        pass


def _kept(store: Store, known: list[str]) -> Any:
    """All that is copied."""
    assert store.contents is not None
    jobs = {job.new.id: (job, job.new.limit and limit_value(job.new.limit)) for job in store.contents.read(IDS)}
    for job, _ in jobs.values():
        job.new.limit = None  # it may say in another way what it means
    edges = {job_id: sorted(store.contents.edges(job_id), key=repr) for job_id in jobs}
    queues = [store.contents.queue(queue) for queue in known]
    return jobs, edges, [replace(one, held_until_ms=bool(one.held_until_ms)) for one in queues]


def _seen(store: Store) -> Any:
    queries = store.queries
    listed = [sorted(one.id for one in queries.find(queue, [state])) for queue in QUEUES for state in State]
    ended = [one.id for queue in QUEUES for one in queries.find(queue, [State.COMPLETED, State.FAILED])]
    return (
        [plain(one) for one in queries.get(IDS)],
        listed,
        ended,
        [queries.status(queue).counts for queue in (*QUEUES, DEAD)],
        [(queries.dependencies(one), queries.dependents(one), queries.logs_after(one, 0)) for one in IDS],
        queries.edges(IDS),
    )


@pytest.mark.parametrize("kind", [MovingStores, MovingQueues])
def test_programs_move_on_to_other_stores(kind: type[Any], redis_url: str, tmp_path: Path) -> None:
    members = {"opened": staticmethod(lambda: one_of_each(redis_url, tmp_path)), "url": redis_url}
    run_state_machine_as_test(
        type("Moving", (kind,), members),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.generate],
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
