"""Send the messages of jobs that became ready."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Change, Completion, Ready

FORWARD_LEASE_MS = 60_000
"""A job whose forwarding was interrupted is forwarded again after this time."""
FORWARDER = "forward"


def dispatch(engine: Engine, ready: Sequence[Ready]) -> None:
    """Publish the messages. A failure loses nothing: the jobs are waiting in the store, and recovery sends them
    again; so it is reported and not raised."""
    if not ready:
        return
    forwards = [one for one in ready if one.forward]
    try:
        engine.driver.publish([one for one in ready if not one.forward] if forwards else ready)
        for one in forwards:
            _forward(engine, one)
        engine.reached(ready[0].queue, "dispatch_failed")
    except Unavailable as error:
        engine.report(ready[0].queue, error, "dispatch_failed")


def _forward(engine: Engine, job: Ready) -> None:
    """Send the message of a job that nobody will claim: claimed here, completed once it is sent. A paused one is
    parked by the claim."""
    claimed = engine.store.transitions.claim(job.queue, [job.id], FORWARDER, FORWARD_LEASE_MS)
    for claim in claimed.claims:
        time.sleep(claim.wait_ms / 1000)
        engine.driver.publish([job])
        task_id = json.dumps(json.loads(job.message)["headers"]["id"])
        settle(engine, engine.store.transitions.complete([Completion(job.id, claim.token, task_id)]))


def settle(engine: Engine, change: Change) -> None:
    """Dispatch what a transition made ready, page by page until nothing is left of it."""
    dispatch(engine, change.ready)
    while change.more:
        change = engine.store.transitions.release()
        dispatch(engine, change.ready)
