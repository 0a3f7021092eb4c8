"""Locks of the memory store."""

from __future__ import annotations

from stratix_kombu.stores.contract import Locks
from stratix_kombu.stores.memory.state import Space


class MemoryLocks(Locks):
    def __init__(self, space: Space) -> None:
        self._space = space

    def acquire(self, key: str, token: str, ttl_ms: int) -> bool:
        with self._space.lock:
            if self._owner(key) is not None:
                return False
            self._space.locks[key] = (token, self._space.now() + ttl_ms)
            return True

    def extend(self, key: str, token: str, ttl_ms: int) -> bool:
        with self._space.lock:
            if self._owner(key) != token:
                return False
            self._space.locks[key] = (token, self._space.now() + ttl_ms)
            return True

    def release(self, key: str, token: str) -> bool:
        with self._space.lock:
            if self._owner(key) != token:
                return False
            del self._space.locks[key]
            return True

    def _owner(self, key: str) -> str | None:
        token, until = self._space.locks.get(key, ("", 0))
        return token if until > self._space.now() else None
