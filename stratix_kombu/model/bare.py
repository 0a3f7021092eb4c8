"""A job of which there is no record any more, or none yet."""

from __future__ import annotations

from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.state import State


def bare_record(job_id: str, queue: str, name: str, state: State) -> JobRecord:
    """What can be said of a job by its id, its queue ('' if it is not known), its name and its state."""
    return JobRecord(
        id=job_id,
        queue=queue,
        name=name,
        data="null",
        options="",
        state=state,
        priority=0,
        created_ms=0,
        due_ms=0,
        processed_ms=0,
        finished_ms=0,
        attempts_made=0,
        attempts_started=0,
        max_attempts=1,
        stalled_count=0,
        pending=0,
        optional=False,
        worker="",
        progress=None,
        result=None,
        failed_reason=None,
        stacktrace=None,
    )
