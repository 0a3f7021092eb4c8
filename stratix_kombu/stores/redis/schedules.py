"""Repeatable jobs of the Redis store."""

from __future__ import annotations

import json
from dataclasses import asdict

from stratix_kombu.model.record import Added, NewJob, Schedule
from stratix_kombu.stores.contract import PAGE, Schedules
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.records import job_arguments
from stratix_kombu.stores.redis.scripts import Scripts
from stratix_kombu.stores.redis.transitions import RedisTransitions, added_of


class RedisSchedules(Schedules):
    def __init__(self, client: Client, scripts: Scripts, transitions: RedisTransitions, base: str) -> None:
        self._client = client
        self._scripts = scripts
        self._transitions = transitions
        self._base = base

    def put(self, schedule: Schedule) -> None:
        self._scripts.run("put_schedule", ("put", schedule.key, json.dumps(asdict(schedule))))

    def all(self, queue: str | None = None) -> list[Schedule]:
        found = (_schedule(one) for one in self._client.run("HVALS", f"{self._base}:schedules"))
        return sorted((one for one in found if queue in (None, one.queue)), key=lambda one: one.key)

    def remove(self, key: str) -> bool:
        return bool(self._scripts.run("put_schedule", ("remove", key, "")))

    def set_paused(self, key: str, paused: bool, next_ms: int | None = None) -> bool:
        slot = "" if next_ms is None else next_ms
        return bool(self._scripts.run("put_schedule", ("pause" if paused else "resume", key, slot)))

    def due(self, limit: int = PAGE, owner: str = "") -> tuple[list[Schedule], int, int | None]:
        now, next_ms, found = self._scripts.run("due", (limit, owner))
        return [_schedule(one) for one in found], int(now), None if next_ms < 0 else int(next_ms)

    def fire(self, key: str, slot_ms: int, next_ms: int, job: NewJob | None) -> Added | None:
        arguments = (job.queue, *job_arguments(job, job.queue)) if job else ()
        answer = self._transitions.run_sending("fire", key, slot_ms, next_ms, *arguments)
        return None if answer is None else added_of(answer)


def _schedule(raw: bytes) -> Schedule:
    values = json.loads(raw)
    return Schedule(**{**values, "next_ms": int(values["next_ms"]), "runs": int(values["runs"])})
