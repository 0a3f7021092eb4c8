"""Jobs of ``queue.process`` in a Celery worker: their message is the task ``stratix.job``."""

from __future__ import annotations

import asyncio
from typing import Any

from celery import Celery
from celery.exceptions import Ignore, Retry

from stratix_kombu.celery.bridge import Bridge, bridge_of
from stratix_kombu.celery.task import queue_of
from stratix_kombu.errors import JobFailed
from stratix_kombu.lifecycle.complete import complete
from stratix_kombu.lifecycle.fail import fail
from stratix_kombu.lifecycle.postpone import postpone
from stratix_kombu.model.message import TASK
from stratix_kombu.model.record import Change, Claim, Completion, Held
from stratix_kombu.worker.attempt import Outcome, Postponed


def register_jobs(app: Celery) -> None:
    """Make the task known to an application's workers."""

    @app.task(name=TASK, bind=True, ignore_result=True, shared=False, typing=False)
    def job(self: Any) -> Any:
        """Run the handler of the queue that the message came from."""
        bridge = bridge_of(app)
        assert bridge is not None
        return run_job(bridge, self.request)


def run_job(bridge: Bridge, request: Any) -> Any:
    """Claim, run and settle one job. Raises Ignore if it is not to run now, Retry and JobFailed as it ended."""
    job_id, queue_name = request.id, queue_of(request)
    claim, claimed = bridge.patiently(job_id, queue_name, lambda: bridge.claims.take(queue_name, job_id))
    if claim is None:
        raise Ignore(f"not to run now: {claimed.refused[0].why}")
    try:
        outcome = _attempt(bridge, queue_name, claim)
        change = bridge.patiently(job_id, queue_name, lambda: _settle(bridge, queue_name, outcome))
    finally:
        bridge.claims.drop(queue_name, claim.token)
    if not bridge.settled(job_id, queue_name, change):
        raise Ignore("the lease was lost: another worker has taken the job over")
    if isinstance(outcome, Completion):
        return None
    if isinstance(outcome, Postponed):
        raise Ignore("its queue is held")
    if outcome.retry_ms is not None:
        raise Retry(outcome.reason)
    raise JobFailed(job_id, outcome.reason)


def _settle(bridge: Bridge, queue_name: str, outcome: Outcome) -> Change:
    if isinstance(outcome, Completion):
        return complete(bridge.engine, [outcome])
    if isinstance(outcome, Postponed):
        return postpone(bridge.engine, queue_name, [Held(outcome.job_id, outcome.token)], outcome.hold_ms)
    return fail(bridge.engine, [outcome])


def _attempt(bridge: Bridge, queue_name: str, claim: Claim) -> Any:
    attempts = bridge.queue.get_queue(queue_name).attempts()
    if attempts.is_async(claim):
        return asyncio.run(attempts.run_async(claim))
    return attempts.run(claim)
