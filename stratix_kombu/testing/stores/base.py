"""What the parts of the store suite share."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from stratix_kombu.model.claims import NO_BOUNDS, Bounds, Taken
from stratix_kombu.model.record import Change, Claim, Completion, Failure, JobRecord, NewJob
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.audit import audit

DEADLINE_S = 10.0
LEASE_MS = 60_000
QUEUE = "mail"


def new(job_id: str = "", queue: str = QUEUE, **fields: Any) -> NewJob:
    """A job to add; its id is random if not given."""
    name = fields.pop("name", "send")
    return NewJob(id=job_id or uuid.uuid4().hex, queue=queue, name=name, fresh=not job_id, **fields)


def native(job_id: str = "", queue: str = QUEUE, **fields: Any) -> NewJob:
    """A job whose message is that of a task."""
    return new(job_id, queue, message='{"body":"","headers":{},"properties":{}}', **fields)


def until(condition: Callable[[], Any], timeout: float = DEADLINE_S) -> Any:
    """The first true answer of the condition."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.005)
    return answer


def gather(step: Callable[[], Iterable[str]], count: int, into: list[str] | None = None) -> list[str]:
    """Repeat a step, collecting the ids it answers with, until there are ``count``; threads may share ``into``."""
    found: list[str] = [] if into is None else into

    def enough() -> bool:
        if len(found) < count:
            found.extend(step())
        return len(found) >= count

    until(enough)
    return found


class StoreCase:
    """A store under test, and short words for what tests do with it."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        """An empty namespace; close it afterwards."""
        raise NotImplementedError("give the suite a fixture 'store'")

    @pytest.fixture(autouse=True)
    def _audited(self, store: Store) -> Iterator[None]:
        """After each test the records, sets and counters must agree."""
        yield
        assert audit(store) == []

    @staticmethod
    def add(store: Store, *jobs: NewJob) -> list[str]:
        """Add; the ids that are to be dispatched."""
        return [job.id for job in store.transitions.add(jobs).ready]

    @staticmethod
    def claim(store: Store, *ids: str, worker: str = "w", lease_ms: int = LEASE_MS, queue: str = QUEUE) -> list[Claim]:
        return store.transitions.claim(queue, ids, worker, lease_ms).claims

    @staticmethod
    def take(
        store: Store,
        want: int = 1,
        bounds: Bounds = NO_BOUNDS,
        *,
        permits: int = 0,
        queue: str = QUEUE,
        worker: str = "w",
        request: str = "",
        lease_ms: int = LEASE_MS,
    ) -> Taken:
        return store.transitions.take(queue, worker, lease_ms, want, bounds, permits=permits, request=request)

    def taken(self, store: Store, want: int = 1, bounds: Bounds = NO_BOUNDS, **how: Any) -> list[str]:
        """Take; the ids of the jobs."""
        return [claim.record.id for claim in self.take(store, want, bounds, **how).claims]

    def start(self, store: Store, job: NewJob, **how: Any) -> Claim:
        """Add a job and claim it."""
        self.add(store, job)
        (claim,) = self.claim(store, job.id, queue=job.queue, **how)
        return claim

    def complete(self, store: Store, *ids: str, queue: str = QUEUE, result: str = "null") -> Change:
        """Claim and complete waiting jobs."""
        claims = self.claim(store, *ids, queue=queue)
        assert [claim.record.id for claim in claims] == list(ids)
        return store.transitions.complete([Completion(claim.record.id, claim.token, result) for claim in claims])

    def fail(self, store: Store, *ids: str, queue: str = QUEUE, reason: str = "broken", **how: Any) -> Change:
        """Claim and fail waiting jobs."""
        claims = self.claim(store, *ids, queue=queue)
        assert [claim.record.id for claim in claims] == list(ids)
        return store.transitions.fail([Failure(claim.record.id, claim.token, reason, **how) for claim in claims])

    @staticmethod
    def record(store: Store, job_id: str) -> JobRecord:
        (record,) = store.queries.get([job_id])
        assert record is not None, f"{job_id} is gone"
        return record

    def states(self, store: Store, *ids: str) -> list[str]:
        return [record.state.value if record else "gone" for record in store.queries.get(ids)]

    @staticmethod
    def counts(store: Store, queue: str = QUEUE) -> dict[str, int]:
        """Counts that are not zero."""
        return {state: count for state, count in store.queries.status(queue).counts.items() if count}

    @staticmethod
    def emitted(store: Store, queue: str = QUEUE, cursor: str = "0") -> list[tuple[str, str]]:
        """Names of the events so far, with the job's id."""
        return [(one.name, one.job_id) for one in store.events.read(queue, cursor)]

    @staticmethod
    def ids(ready: Iterable[Any]) -> list[str]:
        return [job.id for job in ready]

    @staticmethod
    def finish_releases(store: Store, change: Change) -> list[str]:
        """Go on until nothing is left to be released; all ids made ready, of the change too."""
        ready = [job.id for job in change.ready]
        while change.more:
            change = store.transitions.release()
            ready += [job.id for job in change.ready]
        return ready

    def take_all(self, store: Store, ids: Sequence[str], queue: str = QUEUE, page: int = 500) -> list[str]:
        """Complete jobs page by page; ids made ready meanwhile, in all queues."""
        ready: list[str] = []
        for start in range(0, len(ids), page):
            claims = self.claim(store, *ids[start : start + page], queue=queue)
            change = store.transitions.complete([Completion(claim.record.id, claim.token, "1") for claim in claims])
            ready += self.finish_releases(store, change)
        return ready
