"""Messages over tables."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from stratix_kombu.model.record import Ready
from stratix_kombu.stores.contract import Mail
from stratix_kombu.stores.contract.mail import SERVED_MS, Binding
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sql.outgoing import INSERT, letter
from stratix_kombu.stores.sql.queues import is_served
from stratix_kombu.stores.sql.space import SqlSpace

DROPPED_AT_ONCE = 20
AGAIN_S = SERVED_MS / 4000
"""How often it is said that a queue is served."""


class SqlMail(Mail):
    def __init__(self, space: SqlSpace) -> None:
        self._space = space
        self._said: dict[str, float] = {}
        """When it is to be said again that a queue is served."""

    def put(self, queues: Sequence[str], body: str, priority: int = 0, ttl_ms: int | None = None) -> None:
        with self._space.lock:
            db, now = self._space.db, self._space.now()
            expires_ms = None if ttl_ms is None else now + ttl_ms
            old = db.all("SELECT number FROM messages WHERE expires_ms <= ? LIMIT ?", now, DROPPED_AT_ONCE)
            db.many("DELETE FROM messages WHERE number = ?", old)
            db.many(INSERT, [(queue, priority, expires_ms, body) for queue in queues])

    def post(self, jobs: Sequence[Ready]) -> None:
        with self._space.lock:
            self._space.db.many(INSERT, map(letter, jobs))

    def serve(self, queue: str) -> None:
        self._said[queue] = 0.0  # if it cannot be said now, with the next message that is asked for
        with self._space.lock:
            self._space.queues[queue].served_ms = self._space.now() + SERVED_MS
        self._said[queue] = time.monotonic() + AGAIN_S

    def depth(self, queue: str) -> int | None:
        with self._space.reading() as db:
            return self._size(db, queue) if is_served(db, queue, self._space.time_of(db)) else None

    def get(self, queue: str) -> str | None:
        if self._said.get(queue, math.inf) <= time.monotonic():
            self.serve(queue)
        if not self.size(queue):
            return None
        with self._space.lock:
            db = self._space.db
            first = "SELECT number, body FROM messages WHERE queue = ? ORDER BY priority, number LIMIT 1"
            row = db.one(first, queue)
            if row is None:
                return None
            db.put("DELETE FROM messages WHERE number = ?", row[0])
            return str(row[1])

    def size(self, queue: str) -> int:
        with self._space.reading() as db:
            return self._size(db, queue)

    @staticmethod
    def _size(db: Database, queue: str) -> int:
        return int((db.one("SELECT count(*) FROM messages WHERE queue = ?", queue) or (0,))[0])

    def purge(self, queue: str) -> int:
        with self._space.lock:
            return self._space.db.run("DELETE FROM messages WHERE queue = ?", queue)

    def bind(self, exchange: str, binding: Binding) -> None:
        if binding in self.bindings(exchange):
            return
        with self._space.lock:
            columns = "exchange, routing_key, pattern, queue"
            sql = f"INSERT INTO bindings ({columns}) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
            self._space.db.put(sql, exchange, *binding)

    def forget(self, queue: str) -> None:
        with self._space.lock:
            self._space.db.put("DELETE FROM bindings WHERE queue = ?", queue)
            self._space.db.put("DELETE FROM messages WHERE queue = ?", queue)

    def bindings(self, exchange: str) -> list[Binding]:
        with self._space.reading() as db:
            rows = db.all("SELECT routing_key, pattern, queue FROM bindings WHERE exchange = ?", exchange)
        return [(row[0], row[1], row[2]) for row in rows]

    def changes(self) -> int:
        return self._space.changes()

    def wait(self, seen: int, timeout: float) -> None:
        self._space.wait(seen, timeout)
