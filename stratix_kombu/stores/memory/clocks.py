"""Which clock leads, in memory."""

from __future__ import annotations

import heapq
import math

from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import MARGIN_MS, Clocks, Lead
from stratix_kombu.stores.memory.state import Space


class MemoryClocks(Clocks):
    def __init__(self, space: Space) -> None:
        self._space = space

    def lead(self, clock: str, rest_ms: int, *, yields: bool = False) -> Lead:
        space = self._space
        with space.lock:
            now, leader = space.now(), space.leader
            if leader.is_led(clock, now):
                return Lead(False, leader.until_ms - now)
            opens = [queue.order.opens_ms for queue in space.queues.values() if queue.order.opens_ms < math.inf]
            jobs = [*self._first_delayed(), *map(int, opens)]
            running = (schedule for schedule in space.schedules.values() if not schedule.paused and not schedule.owner)
            slots = [one.next_ms for one in running if one.next_ms]
            promote = any(due_ms <= now for due_ms in jobs) or bool(space.reviving or space.releasing)
            repeat = any(slot <= now for slot in slots)
            next_ms = min((one - now for one in (*jobs, *slots) if one > now), default=None)
            rest = rest_ms if next_ms is None else min(next_ms, rest_ms)
            until = now + (MARGIN_MS if promote or repeat else rest) + MARGIN_MS
            leader.take(clock, until, now + rest, yields)
            return Lead(True, next_ms, promote, repeat, bool(space.expiring) and space.expiring[0][0] <= now)

    def _first_delayed(self) -> list[int]:
        """When it is due, if there is one."""
        space = self._space
        while space.delayed:
            due_ms, _, job_id = space.delayed[0]
            job = space.jobs.get(job_id)
            if job is not None and job.state is State.DELAYED and job.due_ms == due_ms:
                return [due_ms]
            heapq.heappop(space.delayed)
        return []

    def rest(self, clock: str, for_ms: int) -> None:
        with self._space.lock:
            self._space.leader.rest(clock, for_ms / 1000)

    def resign(self, clock: str) -> None:
        with self._space.lock:
            self._space.leader.resign(clock)
