"""Send the messages of jobs that became ready."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.record import Change, Completion, Ready
from stratix_kombu.model.tasks import delivered_again

FORWARD_LEASE_MS = 60_000
"""A job whose forwarding was interrupted is forwarded again after this time."""
FORWARDER = "forward"


def dispatch(engine: Engine, ready: Sequence[Ready]) -> None:
    """Send the messages. A failure loses nothing: the jobs are waiting in the store, and recovery sends their messages
    again; so it is reported, at once or when the broker reports it, and not raised."""
    if not ready:
        return
    forwards = [job for job in ready if job.forward]
    try:
        plain = [job for job in ready if not job.forward] if forwards else ready
        if engine.driver.submit(plain, partial(_report, engine)):
            engine.reached(ready[0].queue, "dispatch_failed")
        for forward in forwards:
            _forward(engine, forward)
    except Unavailable as error:
        engine.report(ready[0].queue, error, "dispatch_failed")


def _report(engine: Engine, queue: str, error: BaseException | None) -> None:
    if error is None:
        engine.reached(queue, "dispatch_failed")
    else:
        engine.report(queue, error, "dispatch_failed")


def _forward(engine: Engine, job: Ready) -> None:
    """Send the message of a job that nobody will claim: claimed here, completed once it is sent. A paused one is
    parked by the claim."""
    claimed = engine.store.transitions.claim(job.queue, [job.id], FORWARDER, FORWARD_LEASE_MS)
    for claim in claimed.claims:
        time.sleep(claim.wait_ms / 1000)
        task_id = json.loads(job.message)["headers"]["id"]
        # A job that only sends the message of a task, which has an id of its own, may have tried so before.
        has_begun = claim.record.attempts_started > 1 and task_job_id(task_id) == job.id
        engine.driver.publish([replace(job, message=delivered_again(job.message)) if has_begun else job])
        completion = Completion(job.id, claim.token, json.dumps(task_id))
        dispatch_change(engine, engine.store.transitions.complete([completion]))


def dispatch_pages(engine: Engine, step: Callable[[], Change]) -> None:
    """Take a step again and again, and dispatch what each page made ready, until nothing is left to do."""
    more = True
    while more:
        change = step()
        dispatch(engine, change.ready)
        more = change.more


def dispatch_change(engine: Engine, change: Change) -> None:
    """Dispatch what a transition made ready, page by page until nothing is left of it."""
    dispatch(engine, change.ready)
    if change.more:
        dispatch_pages(engine, engine.store.transitions.release)
