"""Going back to Celery alone: what the store still holds, and handing over what Celery alone can do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kombu.serialization import prepare_accept_content

from stratix_kombu.celery.bridge import Bridge
from stratix_kombu.celery.meta import body_of
from stratix_kombu.celery.publish import DUE
from stratix_kombu.celery.references import JOIN_REFERENCE
from stratix_kombu.errors import InvalidJobState, JobNotFound
from stratix_kombu.lifecycle.one_job import change_delay, remove
from stratix_kombu.model.instant import date_of
from stratix_kombu.model.message import is_task_message
from stratix_kombu.model.record import JobRecord, Ready
from stratix_kombu.model.state import State
from stratix_kombu.model.tasks import BY_NAME, TRACKED

SOON_MS = 60_000
"""What is due within this time, or was due and has no clock, is put off for as long before it is handed over: else a
clock could send it as well."""
UNFINISHED = (State.WAITING, State.ACTIVE, State.DELAYED, State.BLOCKED)


@dataclass(frozen=True, slots=True)
class Left:
    """What a queue still has."""

    queue: str
    counts: dict[str, int]
    """Unfinished jobs by state, if there are any."""


def what_is_left(bridge: Bridge) -> list[Left]:
    """The queues that still have unfinished jobs, which would be left undone without the bridge."""
    found = []
    for queue in bridge.queue.get_queue_names():
        counts = dict(bridge.engine.store.queries.status(queue).counts)
        counts["waiting"] = counts.get("waiting", 0) + counts.pop("paused", 0)
        left = {state.value: counts[state.value] for state in UNFINISHED if counts.get(state.value)}
        if left:
            found.append(Left(queue, left))
    return found


def hand_over_delayed(bridge: Bridge) -> int:
    """Send each delayed task as Celery alone does, with its time in the message, and remove its job from the store;
    return how many. A chain continues by itself. Tasks of a chord's header (whose body is a job that waits for them)
    and tasks on which other jobs depend are left alone, and so are those that a clock sends at the same time.

    The message is sent first: if this is interrupted in between, a task runs twice and none is lost.
    """
    sent = 0
    for queue in bridge.queue.get_queue_names():
        for record, soon in _delayed(bridge, queue):
            places = list(_places_behind(bridge, record.id))
            if None in places or not _is_plain(bridge, record):
                continue
            if record.due_ms <= soon and not _is_put_off(bridge, record.id):
                continue
            bridge.driver.publish([Ready(record.id, queue, record.name, record.priority, _plain(record))])
            for job_id in (*reversed(places), record.id):
                with suppress(JobNotFound, InvalidJobState):
                    remove(bridge.engine, str(job_id))
            sent += 1
    return sent


def _delayed(bridge: Bridge, queue: str) -> Iterator[tuple[JobRecord, int]]:
    """With each, until when it counts as due soon."""
    queries = bridge.engine.store.queries
    cursor, more = "", True
    while more:
        page, cursor = queries.scan(queue, State.DELAYED, cursor)
        soon = queries.now() + SOON_MS
        yield from ((record, soon) for record in page)
        more = bool(cursor)


def _is_put_off(bridge: Bridge, job_id: str) -> bool:
    """Whether it is still delayed, and no clock will send it meanwhile."""
    try:
        change_delay(bridge.engine, job_id, SOON_MS)
    except (JobNotFound, InvalidJobState):
        return False
    return True


def _places_behind(bridge: Bridge, job_id: str) -> Iterator[str | None]:
    """The placeholders of what a task will send when it ends; None for a job that was added by itself."""
    queries = bridge.engine.store.queries
    for record in queries.get(queries.dependents(job_id)):
        if record is not None:
            yield record.id if record.vacant else None
            yield from _places_behind(bridge, record.id)


def _is_plain(bridge: Bridge, record: JobRecord) -> bool:
    """Whether it is a task that a worker without the bridge can run, and all that follows it."""
    if not is_task_message(record.message):
        return False
    message = json.loads(record.message)
    try:
        _, _, embed = body_of(message, prepare_accept_content(bridge.celery.conf.accept_content))
    except Exception:  # of a serializer, a compression or a form of its own
        return False
    return JOIN_REFERENCE not in repr(embed)


def _plain(record: JobRecord) -> str:
    """Its message as it would have been sent without the bridge, with the time that the store has: it was changed,
    perhaps."""
    message: dict[str, Any] = json.loads(record.message)
    headers = message["headers"]
    for own in (DUE, TRACKED, BY_NAME):
        headers.pop(own, None)
    headers["eta"] = date_of(record.due_ms).isoformat()
    return json.dumps(message)
