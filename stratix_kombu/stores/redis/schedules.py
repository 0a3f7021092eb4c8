"""Repeatable jobs of the Redis store."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict

from stratix_kombu.model.codec import decode_mapping
from stratix_kombu.model.record import Added, NewJob, Schedule
from stratix_kombu.stores.contract import PAGE, Schedules
from stratix_kombu.stores.redis.answers import added_of
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.records import job_arguments
from stratix_kombu.stores.redis.scripts import Scripts
from stratix_kombu.stores.redis.transitions import RedisTransitions

logger = logging.getLogger("stratix_kombu.stores")


class RedisSchedules(Schedules):
    def __init__(self, client: Client, scripts: Scripts, transitions: RedisTransitions, base: str) -> None:
        self._client = client
        self._scripts = scripts
        self._transitions = transitions
        self._base = base

    def put(self, schedule: Schedule) -> None:
        self._scripts.run("put_schedule", ("put", schedule.key, json.dumps(asdict(schedule))))

    def all(self, queue: str | None = None) -> list[Schedule]:
        found = _readable(self._scripts.members("HSCAN", ":schedules")[1::2])
        mine = {one.key: one for one in found if queue in (None, one.queue)}
        return [mine[key] for key in sorted(mine)]

    def get(self, key: str) -> Schedule | None:
        raw = self._client.run("HGET", f"{self._base}:schedules", key, again=True)
        return next(iter(_readable([raw])), None) if raw else None

    def remove(self, key: str) -> bool:
        return bool(self._scripts.run("put_schedule", ("remove", key, "")))

    def set_paused(self, key: str, paused: bool, next_ms: int | None = None) -> bool:
        slot = "" if next_ms is None else next_ms
        return bool(self._scripts.run("put_schedule", ("pause" if paused else "resume", key, slot)))

    def ran(self, key: str, job_id: str) -> bool:
        return bool(self._scripts.run("put_schedule", ("ran", key, job_id)))

    def due(self, limit: int = PAGE, owner: str = "") -> tuple[list[Schedule], int, int | None]:
        now, next_ms, found = self._scripts.run("due", (limit, owner))
        return _readable(found), int(now), None if next_ms < 0 else int(next_ms)

    def fire(self, key: str, slot_ms: int, next_ms: int, job: NewJob | None) -> Added | None:
        arguments = (job.queue, *job_arguments(job, job.queue)) if job else ()
        answer = self._transitions.run_sending("fire", key, slot_ms, next_ms, *arguments)
        return None if answer is None else added_of(1 if job else 0, answer)


def _readable(found: Iterable[bytes]) -> list[Schedule]:
    """Without those that no version of this package wrote: the others are not held up by them."""
    schedules: list[Schedule] = []
    for raw in found:
        try:
            values = decode_mapping(raw, "a schedule")
            numbers = {name: int(values[name]) for name in ("next_ms", "runs")}
            if not all(isinstance(values[name], str) for name in ("key", "queue", "name", "rule", "template")):
                raise TypeError("a text is none")
            schedules.append(Schedule(**{**values, **numbers}))
        except (KeyError, TypeError, ValueError, OverflowError) as problem:
            logger.warning("a schedule cannot be read: %r", problem, extra={"action": "schedule_unreadable"})
    return schedules
