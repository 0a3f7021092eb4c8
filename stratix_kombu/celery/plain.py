"""Tasks whose producer does not have the bridge, and what follows them: all of it is sent as Celery alone sends it, for
workers without the bridge may take it. A worker with the bridge adds the job of a message that it has taken. If it goes
back, by a lease that ends or a limit, that job ends, and the message is sent again. What follows is sent by jobs of the
store, so that it is added in the step that ends the task, and waits there until it is time."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

from stratix_kombu.drivers.native import Published, envelope
from stratix_kombu.lifecycle.dispatch import FORWARDER
from stratix_kombu.model.names import message_id
from stratix_kombu.model.record import KEEP_NONE, JobRecord, NewJob
from stratix_kombu.model.state import State
from stratix_kombu.model.tasks import attempt_in

WENT_ON = "went_on"
"""In the data of a job: which attempt of its task has ended with a message for the next one; null while it has not."""
STALLED = "stalled"
"""Beside it: how many leases of it had ended before."""
AGAIN_AND_AGAIN = 1_000_000
"""How often a message is sent again that could not be sent."""


def forwarding(job: NewJob, published: Published) -> NewJob:
    """Instead of the job of a task, the one that sends its message when it is time."""
    return replace(
        adopted(job, published),
        id=message_id(job.id, uuid.uuid4().hex),
        data="null",
        max_stalled=AGAIN_AND_AGAIN,
        keep_completed=KEEP_NONE,
        limit=None,
    )


def adopted(job: NewJob, published: Published) -> NewJob:
    """The job of a message that has been taken: who claims it next sends that again, unless it is the taker."""
    message = envelope(published, job.queue, job.queue, tracked=False)
    return replace(job, message=message, forward=True, anew=False, data=json.dumps({WENT_ON: None}))


def once_more(job: NewJob, before: JobRecord, allowed: int) -> NewJob:
    """The job of a message that has come again, in the place of the one that has sent it: the leases that have ended
    count, of which ``allowed`` many may."""
    stalled = json.loads(before.data).get(STALLED, 0) + before.stalled_count
    left = max((allowed if job.max_stalled is None else job.max_stalled) - stalled, 0)
    return replace(job, anew=True, max_stalled=left, data=json.dumps({WENT_ON: None, STALLED: stalled}))


def went_on(request: Any) -> str:
    """The data of a job whose task goes on in another message."""
    return json.dumps({WENT_ON: attempt_in(vars(request))})


def has_gone_on(record: JobRecord | None) -> bool:
    """Whether its task has gone on in another message: what has become of it, the store does not know."""
    return record is not None and record.state is State.COMPLETED and record.data.startswith(f'{{"{WENT_ON}"')


def is_being_sent(record: JobRecord) -> bool:
    """Whether the message of an adopted job is on its way: its worker may have it before that is stored."""
    return record.state is State.ACTIVE and record.worker == FORWARDER and record.data.startswith(f'{{"{WENT_ON}"')


def is_next(request: Any, record: JobRecord) -> bool:
    """Whether a message is for a later attempt than that which has ended, and not a copy of an earlier message."""
    return has_gone_on(record) and attempt_in(vars(request)) > (json.loads(record.data)[WENT_ON] or [])
