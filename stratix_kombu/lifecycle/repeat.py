"""Repeat: a due slot of a repeatable job is claimed, and its job added under an id that the slot determines."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from stratix_kombu.config.options import deduplication_of
from stratix_kombu.errors import ConfigurationError, InvalidPayload
from stratix_kombu.lifecycle.dispatch import dispatch_change
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.codec import decode_mapping
from stratix_kombu.model.limiter import limit_from, limit_value
from stratix_kombu.model.names import forwarded_id, run_id
from stratix_kombu.model.record import RUN, Added, Change, NewJob, Retention, Schedule
from stratix_kombu.model.recurrence import Recurrence

_KEPT: dict[str, Any] = {
    "name": str,
    "data": str,
    "options": str,
    "priority": int,
    "max_attempts": int,
    "keep_completed": dict,
    "keep_failed": dict,
    "message": str,
    "max_stalled": int | None,
    "forward": bool,
}


_KEPT_SINCE: dict[str, Any] = {"dead_letter": str, "limit": dict | None, "deduplication": dict | None}
"""What templates of the first release do not have."""


def template_of(new: NewJob) -> str:
    """What each run is made from, as JSON."""
    kept = {name: value for name, value in asdict(new).items() if name in {**_KEPT, **_KEPT_SINCE}}
    if new.limit:
        kept["limit"] = limit_value(new.limit)
    if new.deduplication:
        one = new.deduplication
        kept["deduplication"] = {"id": one.id, "ttl": one.ttl_ms or None, "replace": one.replace, "extend": one.extend}
    return json.dumps(kept)


def job_of(schedule: Schedule, job_id: str) -> NewJob:
    """The job of one run. Raises InvalidPayload for a template that ``template_of`` did not write."""
    kept = decode_mapping(schedule.template, f"the template of {schedule.key}")
    try:
        for name, kind in {**_KEPT, **{key: kind for key, kind in _KEPT_SINCE.items() if key in kept}}.items():
            if not isinstance(kept[name], kind):
                raise TypeError(f"{name!r} is no {kind}")
        for name in ("keep_completed", "keep_failed"):
            kept[name] = Retention(**kept[name])
        if kept.get("limit"):
            kept["limit"] = limit_from(kept["limit"])
        if kept.get("deduplication"):
            kept["deduplication"] = deduplication_of(kept["deduplication"], "'deduplication'")
        if kept["message"]:
            kept["message"] = _addressed(kept["message"], job_id, kept["forward"])
        return NewJob(id=job_id, queue=schedule.queue, kind=RUN, **kept)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, ConfigurationError) as problem:
        raise InvalidPayload(f"the template of {schedule.key} cannot be read: {problem}") from problem


def _addressed(text: str, job_id: str, forward: bool) -> str:
    """The message of a Celery task with the id of this run. One that is forwarded is no job of its worker, so its id
    must not be that of ours."""
    message = decode_mapping(text, "a message")
    task_id = forwarded_id(job_id) if forward else job_id
    message["headers"].update(id=task_id, root_id=task_id)
    properties = {**message["properties"], "correlation_id": task_id}
    return json.dumps({**message, "properties": properties}, separators=(",", ":"))


def repeat(engine: Engine) -> bool:
    """Fire all slots that are due; False if some of them cannot be fired here. Missed slots collapse into one late run:
    the next slot is in the future."""
    tried: set[tuple[str, int]] = set()
    while True:
        due, now_ms, _ = engine.store.schedules.due()
        new = [schedule for schedule in due if (schedule.key, schedule.next_ms) not in tried]
        for schedule in new:
            tried.add((schedule.key, schedule.next_ms))
            try:
                fire(engine, schedule, now_ms)
            except ValueError as problem:
                # A zone that this host does not know, or a record of another version: others are not affected.
                engine.report(schedule.queue, problem, "repeat_failed")
        if not new:
            return not due


def fire(engine: Engine, schedule: Schedule, now_ms: int) -> None:
    """Claim the schedule's slot and add its job, unless another clock was first."""
    rule = Recurrence.decode(schedule.rule)
    ended = bool(rule.limit) and schedule.runs + 1 >= rule.limit
    next_ms = None if ended else rule.next_after(max(now_ms, schedule.next_ms))
    job = job_of(schedule, run_id(schedule.key, schedule.next_ms))
    claim_slot(engine, schedule, next_ms or 0, job)


def claim_slot(engine: Engine, schedule: Schedule, next_ms: int, job: NewJob | None) -> bool:
    """Move the schedule on to ``next_ms``, and add the job of its slot in the same step; None adds nothing. Returns
    False if another clock was first."""
    added = engine.store.schedules.fire(schedule.key, schedule.next_ms, next_ms, job)
    if added is not None:
        dispatch_change(engine, Change(ready=added.ready, more=added.more))
    return added is not None


def run_now(engine: Engine, schedule: Schedule, job_id: str) -> tuple[list[NewJob], Added]:
    """One run besides the slots, which are not changed by it."""
    jobs = [job_of(schedule, job_id)]
    added = engine.store.transitions.add(jobs)
    if added.placed[0] is not None:
        engine.store.schedules.ran(schedule.key, job_id)
    dispatch_change(engine, Change(ready=added.ready, more=added.more))
    return jobs, added


def put_schedule(engine: Engine, schedule: Schedule) -> None:
    """Keep the schedule, instead of one with its key."""
    engine.store.schedules.put(schedule)


def remove_schedule(engine: Engine, key: str) -> bool:
    """Forget the schedule; returns whether there was one. Jobs that it added stay."""
    return engine.store.schedules.remove(key)


def pause_schedule(engine: Engine, key: str) -> bool:
    """Have it add no jobs; returns whether there is one."""
    return engine.store.schedules.set_paused(key, True)


def resume_schedule(engine: Engine, key: str, next_ms: int) -> bool:
    """Have it add jobs again, the next one at ``next_ms``; returns whether there is one."""
    return engine.store.schedules.set_paused(key, False, next_ms)
