"""Locks over tables."""

from __future__ import annotations

from stratix_kombu.stores.memory.locks import MemoryLocks
from stratix_kombu.stores.sql.space import SqlSpace


class SqlLocks(MemoryLocks):
    """As in memory; those that are over are dropped by and by."""

    _space: SqlSpace

    def acquire(self, key: str, token: str, ttl_ms: int) -> bool:
        with self._space.lock:
            self._space.locks.drop_old(self._space.now())
            return super().acquire(key, token, ttl_ms)
