"""Locks of the Redis store."""

from __future__ import annotations

from stratix_kombu.stores.contract import Locks
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.scripts import Scripts


class RedisLocks(Locks):
    def __init__(self, client: Client, scripts: Scripts, base: str) -> None:
        self._client = client
        self._scripts = scripts
        self._base = base

    def acquire(self, key: str, token: str, ttl_ms: int) -> bool:
        return bool(self._scripts.run("lock", (token, ttl_ms, "free"), self._key(key)))

    def extend(self, key: str, token: str, ttl_ms: int) -> bool:
        return bool(self._scripts.run("lock", (token, ttl_ms, "owned"), self._key(key)))

    def release(self, key: str, token: str) -> bool:
        return bool(self._scripts.run("lock", (token, "", "owned"), self._key(key)))

    def _key(self, key: str) -> str:
        return f"{self._base}:lock:{key}"
