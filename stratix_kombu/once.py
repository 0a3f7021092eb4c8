"""Run jobs and the clock without a permanent worker: for tests, for programs started by a timer, for AWS Lambda.

>>> from stratix_kombu.once import run_waiting, tick
>>> tick(app)  # what is due by now becomes waiting  # doctest: +SKIP
>>> run_waiting(app)  # and runs here, until nothing waits  # doctest: +SKIP
3
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stratix_kombu.lifecycle.claim import take
from stratix_kombu.lifecycle.clock import Clock
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.outcomes import complete, fail, postpone
from stratix_kombu.model.arguments import seconds
from stratix_kombu.model.awaiting import finished
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import Claim, Completion, Failure, Held
from stratix_kombu.worker.attempt import Attempt, Attempts, Outcome
from stratix_kombu.worker.timeouts import Timeouts

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.queue import Queue

LEASE_S = 900.0
"""How long a job may run before others may have it: nothing renews the lease here."""


def run_waiting(
    app: Application,
    queues: Collection[str] | None = None,
    *,
    limit: int | None = None,
    timeout: float | timedelta | None = None,
    lease: float | timedelta = LEASE_S,
    awaits: Callable[[Any], Any] = finished,
) -> int:
    """Run the handlers of waiting jobs, one after the other, in this thread, until none are waiting; return the number
    of attempts.

    ``queues`` are names, by default of all that have a handler here. No more than ``limit`` begin, and none later than
    ``timeout`` seconds from now. ``lease`` is how long one may take (seconds or a timedelta): longer ones are lost to
    other workers. ``awaits`` runs what ``async def`` handlers give, by default on a loop of its own. Raises
    StoreUnavailable and DriverUnavailable; what handlers raise is the outcome of their jobs.

    >>> run_waiting(app, ["emails"], limit=100)  # doctest: +SKIP
    3
    """
    host = OneAfterAnother(app, seconds(lease, "run_waiting: 'lease'") or LEASE_S, awaits)
    patience = seconds(timeout, "run_waiting: 'timeout'")
    ends = None if patience is None else time.monotonic() + patience
    try:
        return sum(1 for _ in host.attempts(queues, limit, ends))
    finally:
        host.close()


def tick(app: Application) -> bool:
    """One round of the clock: delayed jobs that are due become waiting, repeatable jobs are added, and jobs of dead
    workers are recovered. Returns whether it was done: it is not while another clock of the namespace is running.
    Raises StoreUnavailable.

    >>> tick(app)  # each minute, where no worker stays  # doctest: +SKIP
    True
    """
    return Clock.of(app.queue.engine, app.queue.settings.worker).tick()


class OneAfterAnother:
    """A host that runs one job at a time, in the calling thread."""

    def __init__(self, app: Application, lease_s: float, awaits: Callable[[Any], Any] = finished) -> None:
        self._app = app
        self._engine: Engine = app.queue.engine
        self._id = f"once-{uuid.uuid4().hex[:12]}"
        self._lease_ms = int(lease_s * 1000)
        self._awaits = awaits
        self._timeouts = Timeouts("once")
        self._attempts: dict[str, Attempts] = {}
        self._timed_out: set[str] = set()

    def attempts(self, queues: Collection[str] | None, limit: int | None, ends: float | None) -> Iterator[Outcome]:
        """Run the waiting jobs of these queues; returns how each attempt ended."""
        left = limit
        going_on = True
        while going_on:
            going_on = False
            for queue in self._chosen(queues):
                while (left is None or left > 0) and (ends is None or time.monotonic() < ends):
                    outcome = self.one(queue)
                    if outcome is None:
                        break
                    going_on = True
                    left = None if left is None else left - 1
                    yield outcome

    def one(self, queue: Queue, lease_s: float | None = None) -> Outcome | None:
        """Run the next job of the queue, if one may start now. Raises Unavailable if the store is unreachable: the job
        is run by others when its lease has expired."""
        lease_ms = self._lease_ms if lease_s is None else int(lease_s * 1000)
        request = new_request()
        taken = take(self._engine, queue.name, self._id, lease_ms, 1, queue.bounds, permits=1, request=request)
        return self._run(queue, taken.claims[0]) if taken.claims else None

    def close(self) -> None:
        """End the thread that watches times."""
        self._timeouts.stop()

    def _chosen(self, names: Collection[str] | None) -> list[Queue]:
        if names is not None:
            return [self._app.queue.get_queue(name) for name in names]
        return [queue for queue in self._app.queue.get_all_queues() if queue.handler_names]

    def _run(self, queue: Queue, claim: Claim) -> Outcome:
        time.sleep(claim.wait_ms / 1000)
        attempts = self._attempts.get(queue.name)
        if attempts is None:
            attempts = self._attempts[queue.name] = queue.local.attempts(1)
        attempt = attempts.of(claim)
        if attempt.needs_timeouts:
            self._timeouts.start()
        if attempt.is_async:
            outcome: Outcome | None = self._awaits(attempt.run_async())
        else:
            outcome = attempt.run_in_time(self._timeouts, lambda late: self._time_out(queue, late))
        assert outcome is not None  # a handler's outcome is not stored before it has returned
        if claim.token not in self._timed_out:
            self._store(queue, outcome)
        self._engine.cancellations.forget(claim.token)
        return outcome

    def _time_out(self, queue: Queue, attempt: Attempt) -> None:
        self._timed_out.add(attempt.token)
        self._engine.cancellations.ask(attempt.token)
        failure = attempt.timed_out()
        assert failure is not None
        self._store(queue, failure)

    def _store(self, queue: Queue, outcome: Outcome) -> None:
        if isinstance(outcome, Completion):
            complete(self._engine, [outcome])
        elif isinstance(outcome, Failure):
            fail(self._engine, [outcome])
        else:
            postpone(self._engine, queue.name, [Held(outcome.job_id, outcome.token)], outcome.hold_ms)
