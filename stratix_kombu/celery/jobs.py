"""Jobs of ``queue.process`` in a Celery worker: their message is the task ``stratix.job``."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn

from celery import Celery
from celery.exceptions import Ignore, Retry

from stratix_kombu import forks
from stratix_kombu.celery.bridge import Bridge, bridge_of
from stratix_kombu.celery.task import queue_of
from stratix_kombu.errors import JobFailed, Unavailable
from stratix_kombu.lifecycle.complete import complete
from stratix_kombu.lifecycle.fail import fail
from stratix_kombu.lifecycle.hand_back import hand_back
from stratix_kombu.lifecycle.postpone import postpone
from stratix_kombu.model.message import TASK
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import Change, Claim, Completion, Failure, Held
from stratix_kombu.worker.attempt import Outcome, Postponed
from stratix_kombu.worker.attempt_log import log_cancelled


def register_jobs(app: Celery) -> None:
    """Make the task known to an application's workers."""

    @app.task(name=TASK, bind=True, ignore_result=True, shared=False, typing=False, throws=(JobFailed,))
    def job(self: Any) -> Any:
        """Run the handler of the queue that the message came from."""
        bridge = bridge_of(app)
        assert bridge is not None
        return run_job(bridge, self.request)


def run_job(bridge: Bridge, request: Any) -> Any:
    """Take, run and settle one job: the message is a permit, whatever job it names. Raises Ignore if there is none to
    run now, Retry and JobFailed as it ended."""
    queue_name = queue_of(request)
    asked = new_request()
    bounds = bridge.bounds(queue_name)
    claim, why = bridge.patiently(request.id, queue_name, lambda: bridge.claims.take(queue_name, asked, bounds))
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


class Run:
    """One claimed job: run, and settled when its handler has ended or its time is over."""

    def __init__(self, bridge: Bridge, queue_name: str, claim: Claim) -> None:
        self._bridge = bridge
        self._queue = bridge.queue.get_queue(queue_name)
        self._claim = claim
        self._attempts = self._queue.attempts(bridge.claims.concurrency)
        self._pid = os.getpid()
        self._ending = threading.Lock()
        self._outcome: Outcome | None = None
        self._over = False
        """The handler has ended."""
        self.accepted = False
        """Whether the store has taken the outcome."""

    def outcome(self) -> Outcome:
        """Run the handler; what has been settled."""
        token = self._claim.token
        self._bridge.claims.on_end(token, self._told_to_end)
        try:
            if self._attempts.is_async(self._claim):
                return self._settle(asyncio.run(self._run_async()))
            return self._run_in_time(self._attempts.timeout_s(self._claim))
        finally:
            self._bridge.claims.drop(self._queue.name, token)
            self._bridge.claims.on_end(token, None)
            self._queue.cancelled.discard(token)

    def _told_to_end(self) -> None:
        """The job was cancelled, or lost."""
        token, record = self._claim.token, self._claim.record
        if token not in self._queue.cancelled and not self._bridge.claims.is_lost(token):
            log_cancelled(record.id, record.name, self._queue.name)
        self._queue.cancelled.add(token)

    async def _run_async(self) -> Outcome:
        loop = asyncio.get_running_loop()
        work = loop.create_task(self._attempts.run_async(self._claim))

        def end() -> None:
            self._told_to_end()
            loop.call_soon_threadsafe(work.cancel)

        self._bridge.claims.on_end(self._claim.token, end)
        try:
            return await work
        finally:
            self._bridge.claims.on_end(self._claim.token, None)

    def _run_in_time(self, seconds: float | None) -> Outcome:
        if seconds is None or self._attempts.is_sandboxed(self._claim):  # a sandbox ends in time by itself
            return self._settle(self._attempts.run(self._claim))
        timer = threading.Timer(seconds, self._time_out)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError as problem:  # the system has no thread left: another process can run the job
            self._hand_back(problem)
        outcome = self._attempts.run(self._claim)
        timer.cancel()
        with self._ending:
            self._over = True
            self._bridge.claims.stuck.discard(self._claim.token)
        return self._settle(outcome)

    def _hand_back(self, problem: Exception) -> NoReturn:
        engine, name = self._bridge.engine, self._queue.name
        engine.report(name, problem, "start_failed")
        self._bridge.claims.pause(1.0)  # it comes back at once
        held = [Held(self._claim.record.id, self._claim.token)]
        self._bridge.settle(self._claim.record.id, name, lambda: hand_back(engine, held))
        raise Ignore("handed back") from problem

    def _time_out(self) -> None:
        """The attempt fails now; what its handler returns later is not taken."""
        with self._ending:
            if self._over:
                return
            self._bridge.claims.stuck.add(self._claim.token)
        self._queue.cancelled.add(self._claim.token)
        with suppress(Unavailable):  # told at every try
            self._settle(self._attempts.timed_out(self._claim))
        self._bridge.claims.drop(self._queue.name, self._claim.token)

    def _explained(self, outcome: Outcome) -> Outcome:
        """Of a job that has the name of a task, and no handler: what was meant, perhaps."""
        name, tasks = self._claim.record.name, self._bridge.celery.tasks
        if isinstance(outcome, Failure) and outcome.reason.startswith("no handler") and name in tasks:
            remedy = f"{name!r} is a Celery task: queue.add(task, ...) with the task itself, or send_task"
            return replace(outcome, reason=f"{outcome.reason}; {remedy}")
        return outcome

    def _settle(self, outcome: Outcome) -> Outcome:
        """Store the outcome, unless there is one already; the one there is."""
        forks.end_if_forked(self._pid, int(isinstance(outcome, Failure)))
        with self._ending:
            if self._outcome is None:
                self._outcome = outcome = self._explained(outcome)
                job_id, name = self._claim.record.id, self._queue.name
                if not self._bridge.claims.is_lost(self._claim.token):
                    self.accepted = self._bridge.settle(job_id, name, lambda: _store(self._bridge, name, outcome))
            return self._outcome


def _store(bridge: Bridge, queue_name: str, outcome: Outcome) -> Change:
    if isinstance(outcome, Completion):
        return complete(bridge.engine, [outcome])
    if isinstance(outcome, Postponed):
        return postpone(bridge.engine, queue_name, [Held(outcome.job_id, outcome.token)], outcome.hold_ms)
    return fail(bridge.engine, [outcome])
