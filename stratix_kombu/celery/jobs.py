"""Jobs of ``queue.process`` in a Celery worker: their message is the task ``stratix.job``."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from queue import SimpleQueue
from typing import Any, NoReturn

from celery import Celery, Task
from celery.exceptions import Ignore, Retry
from celery.worker.request import Request

from stratix_kombu import forks
from stratix_kombu.celery.bridge import Bridge, bridge_of
from stratix_kombu.celery.task import queue_of
from stratix_kombu.errors import JobFailed, Unavailable
from stratix_kombu.lifecycle.outcomes import fail, hand_back, postpone
from stratix_kombu.lifecycle.recover import give_up
from stratix_kombu.model.message import TASK
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import Change, Claim, Completion, Failure, Held
from stratix_kombu.model.state import Refusal
from stratix_kombu.worker.attempt import Attempt, Outcome, Postponed

ASKED = "stratix_request"
"""In the request of a permit: the name of the ``take`` that is made with it."""


class JobRequest(Request):
    """Named where the message comes in, so that the main process knows which claim a child of its pool had made."""

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        self.request_dict[ASKED] = new_request()


def register_jobs(app: Celery) -> None:
    """Make the task known to an application's workers. It is none of the project's: it does not have its base."""

    @app.task(
        name=TASK,
        base=Task,
        bind=True,
        ignore_result=True,
        shared=False,
        typing=False,
        throws=(JobFailed,),
        Request=JobRequest,
    )
    def job(self: Any) -> Any:
        """Run the handler of the queue that the message came from."""
        bridge = bridge_of(app)
        assert bridge is not None
        return run_job(bridge, self.request)


def run_job(bridge: Bridge, request: Any) -> Any:
    """Take, run and settle one job: the message is a permit, whatever job it names. Raises Ignore if there is none to
    run now, and Retry or JobFailed according to its outcome."""
    queue_name = queue_of(request)
    asked, tries = request.get(ASKED) or new_request(), count()
    bounds = bridge.bounds(queue_name)

    def take() -> tuple[Claim | None, Refusal | None]:
        return bridge.claims.take(queue_name, asked, bounds, again=next(tries) > 0)

    claim, why = bridge.patiently(queue_name, take)
    if claim is None:
        raise Ignore(f"nothing to run now: {why}")
    run = Run(bridge, queue_name, claim)
    outcome = run.outcome()
    if not run.accepted:
        raise Ignore("the lease was lost: another worker has taken the job over")
    if isinstance(outcome, Completion):
        return None
    if isinstance(outcome, Postponed):
        raise Ignore("its queue is held")
    if outcome.retry_ms is not None:
        raise Retry(outcome.reason)
    raise JobFailed(outcome.job_id, outcome.reason)


def lost_with_its_child(bridge: Bridge, request: Mapping[str, Any]) -> None:
    """The process of the pool that had taken a job with this permit was killed: the job's lease ends now."""
    queue, asked = queue_of(request), request.get(ASKED)
    engine = bridge.engine
    try:
        held = [one for one in engine.store.queries.held(queue, bridge.claims.worker) if one.token == f"{asked}:0"]
        if held:
            give_up(engine, held, bridge.queue.settings.worker.max_stalled_count)
    except Unavailable as problem:
        engine.report(queue, problem, "settle_failed")  # the lease expires by itself


class Run:
    """One claimed job: run, and settled when its handler has returned or its timeout is exceeded."""

    def __init__(self, bridge: Bridge, queue_name: str, claim: Claim) -> None:
        self._bridge = bridge
        self._queue = queue_name
        queue = bridge.queue.get_queue(queue_name)
        queue.local.handlers.explain = bridge.explain
        self._attempt = queue.attempts(bridge.claims.concurrency).of(claim)
        self._endings = bridge.claims.served(queue_name).endings
        self._pid = os.getpid()
        self._timed_out: Failure | None = None
        self._stored = threading.Event()
        """Whether it is stored, or no longer needed."""
        self.accepted = False
        """Whether the store has taken the outcome."""

    def outcome(self) -> Outcome:
        """Run the handler; return what was settled."""
        token = self._attempt.token
        try:
            outcome = self._run()
            forks.end_if_forked(self._pid, int(isinstance(outcome, Failure)))
            late, lost = self._endings.ended(token)
            if lost:
                return outcome
            if late:  # what its handler has returned after its time is not taken
                self._stored.wait()
                return self._timed_out or outcome
            self._store(outcome)
            return outcome
        finally:
            self._bridge.claims.drop(self._queue, token)

    def _run(self) -> Outcome:
        claims = self._bridge.claims
        try:
            if self._attempt.is_async:
                return self._run_on_loop()
            if self._attempt.needs_timeouts:
                claims.timeouts.start()
        except (RuntimeError, OSError) as problem:  # no thread is left: another process can run the job
            self._hand_back(problem)
        outcome = self._attempt.run_in_time(claims.timeouts, self._time_out)
        assert outcome is not None
        return outcome

    def _run_on_loop(self) -> Outcome:
        ended: SimpleQueue[Outcome] = SimpleQueue()
        loop = self._bridge.claims.loop

        async def run(attempt: Attempt) -> None:
            outcome = await attempt.run_async()
            assert outcome is not None
            ended.put(outcome)

        loop.submit(self._attempt, run)
        try:
            return ended.get()
        except BaseException:  # a time limit of Celery ends this thread's wait, and the handler should stop, too
            loop.cancel(self._attempt.token)
            raise

    def _hand_back(self, problem: Exception) -> NoReturn:
        engine, claim = self._bridge.engine, self._attempt.claim
        engine.report(self._queue, problem, "start_failed")
        self._bridge.claims.pause(1.0)  # it comes back at once
        held = [Held(claim.record.id, claim.token)]
        self._bridge.settle(claim.record.id, self._queue, lambda: hand_back(engine, held))
        raise Ignore("handed back") from problem

    def _time_out(self, attempt: Attempt) -> None:
        """The attempt fails now. Storing that takes long while the store is unreachable, and the thread that watches
        timeouts has others to watch."""
        failure = self._endings.time_out(attempt)
        if failure is None:
            return
        self._timed_out = failure
        store = threading.Thread(target=self._store_failure, args=(failure,), name="stratix-timed-out", daemon=True)
        try:
            store.start()
        except RuntimeError:  # the system has no thread left
            self._store_failure(failure)

    def _store_failure(self, failure: Failure) -> None:
        try:
            with suppress(Unavailable):  # reported at every try
                self._store(failure)
        finally:
            self._bridge.claims.served(self._queue).holdings.note_stored(failure.token)
            self._stored.set()

    def _store(self, outcome: Outcome) -> None:
        bridge, queue = self._bridge, self._queue
        self.accepted = bridge.settle(outcome.job_id, queue, lambda: _store(bridge, queue, outcome))


def _store(bridge: Bridge, queue_name: str, outcome: Outcome) -> Change:
    if isinstance(outcome, Completion):
        return bridge.claims.served(queue_name).completing.ask(outcome.job_id, outcome)
    if isinstance(outcome, Postponed):
        return postpone(bridge.engine, queue_name, [Held(outcome.job_id, outcome.token)], outcome.hold_ms)
    return fail(bridge.engine, [outcome])
