"""Repeatable jobs of the memory store."""

from __future__ import annotations

from dataclasses import replace

from stratix_kombu.errors import JobIdTaken
from stratix_kombu.model.names import run_of
from stratix_kombu.model.record import Added, NewJob, Schedule
from stratix_kombu.model.runs import with_run
from stratix_kombu.stores.contract import PAGE, Schedules, Transitions
from stratix_kombu.stores.memory.state import Space


class MemorySchedules(Schedules):
    def __init__(self, space: Space, transitions: Transitions) -> None:
        self._space = space
        self._transitions = transitions

    def put(self, schedule: Schedule) -> None:
        with self._space.lock:
            known = self._space.schedules.get(schedule.key)
            if known is not None:
                schedule = replace(schedule, recent=known.recent)
            if known is not None and (known.rule, known.owner) == (schedule.rule, schedule.owner):
                schedule = replace(schedule, next_ms=known.next_ms, runs=known.runs, paused=known.paused)
            self._keep(schedule)

    def all(self, queue: str | None = None) -> list[Schedule]:
        with self._space.lock:
            found = (schedule for schedule in self._space.schedules.values() if queue in (None, schedule.queue))
            return sorted(found, key=lambda one: one.key)

    def get(self, key: str) -> Schedule | None:
        with self._space.lock:
            return self._space.schedules.get(key)

    def remove(self, key: str) -> bool:
        with self._space.lock:
            return self._space.schedules.pop(key, None) is not None

    def set_paused(self, key: str, paused: bool, next_ms: int | None = None) -> bool:
        with self._space.lock:
            schedule = self._space.schedules.get(key)
            if schedule is None:
                return False
            slot = schedule.next_ms if next_ms is None else next_ms
            self._keep(replace(schedule, paused=paused, next_ms=slot))
            return True

    def _keep(self, schedule: Schedule) -> None:
        self._space.schedules[schedule.key] = schedule
        if schedule.next_ms and not schedule.paused and not schedule.owner:
            self._space.leader.wake(schedule.next_ms)

    def due(self, limit: int = PAGE, owner: str = "") -> tuple[list[Schedule], int, int | None]:
        with self._space.lock:
            now = self._space.now()
            mine = (schedule for schedule in self._space.schedules.values() if schedule.owner == owner)
            running = [one for one in mine if one.next_ms and not one.paused]
            running.sort(key=lambda one: (one.next_ms, one.key))
            due = [one for one in running if one.next_ms <= now]
            ahead = [one.next_ms - now for one in running if one.next_ms > now]
            return due[:limit], now, 0 if len(due) > limit else (ahead[0] if ahead else None)

    def fire(self, key: str, slot_ms: int, next_ms: int, job: NewJob | None) -> Added | None:
        with self._space.lock:
            schedule = self._space.schedules.get(key)
            if schedule is None or schedule.paused or schedule.next_ms != slot_ms:
                return None
            try:
                added = self._transitions.add([job]) if job else Added()
            except JobIdTaken as taken:
                added = Added((None,), frozenset({taken.job_id}))
            runs, recent = schedule.runs + (job is not None), schedule.recent
            if job is not None and added.placed[0] is not None:
                recent = with_run(recent, run_of(job.id)[1], self._space.now())
            self._keep(replace(schedule, next_ms=next_ms, runs=runs, recent=recent))
            return added

    def ran(self, key: str, job_id: str) -> bool:
        with self._space.lock:
            schedule = self._space.schedules.get(key)
            if schedule is None:
                return False
            recent = with_run(schedule.recent, run_of(job_id)[1], self._space.now())
            self._space.schedules[key] = replace(schedule, recent=recent)
            return True
