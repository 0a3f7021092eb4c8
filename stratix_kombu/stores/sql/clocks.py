"""Which clock leads, over tables."""

from __future__ import annotations

import time

from stratix_kombu.stores.contract import MARGIN_MS, Clocks, Lead
from stratix_kombu.stores.sql.leader import READ
from stratix_kombu.stores.sql.space import SqlSpace


class SqlClocks(Clocks):
    def __init__(self, space: SqlSpace) -> None:
        self._space = space

    def lead(self, clock: str, rest_ms: int, *, yields: bool = False) -> Lead:
        space = self._space
        with space.lock:
            now, leader, db = space.now(), space.leader, space.db
            if leader.is_led(clock, now):
                return Lead(False, leader.until_ms - now)
            due = space.next_due()
            running = "owner = '' AND next_ms > 0 AND paused = 0"
            slot = db.one(f"SELECT min(next_ms) FROM schedules WHERE {running}")
            promote = (due is not None and due <= now) or bool(space.reviving or space.releasing)
            repeat = slot is not None and slot[0] is not None and slot[0] <= now
            after = (
                db.one("SELECT min(due_ms) FROM jobs WHERE state = 'delayed' AND due_ms > ?", now),
                db.one("SELECT min(opens_ms) FROM queues WHERE opens_ms > ?", now),
                db.one(f"SELECT min(next_ms) FROM schedules WHERE {running} AND next_ms > ?", now),
            )
            next_ms = min((row[0] - now for row in after if row and row[0] is not None), default=None)
            rest = rest_ms if next_ms is None else min(next_ms, rest_ms)
            until = now + (MARGIN_MS if promote or repeat else rest) + MARGIN_MS
            leader.take(clock, until, now + rest, yields)
            expires = db.one("SELECT 1 FROM jobs WHERE expires_ms <= ? LIMIT 1", now) is not None
            return Lead(True, next_ms, promote, repeat, expires)

    def rest(self, clock: str, for_ms: int) -> None:
        deadline = time.monotonic() + for_ms / 1000
        while True:
            seen = self._space.changes()
            with self._space.reading() as db:
                leader, *_, woken = db.one(READ) or ("", 0)
            left = deadline - time.monotonic()
            if woken or leader != clock or left <= 0:
                return
            self._space.wait(seen, left)

    def resign(self, clock: str) -> None:
        with self._space.lock:
            self._space.leader.resign(clock)
