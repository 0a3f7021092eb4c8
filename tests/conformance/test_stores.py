"""Every built-in store conforms."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.memory import MemoryStore
from stratix_kombu.stores.redis import open_redis_store
from stratix_kombu.stores.sqlite import open_sqlite_store
from stratix_kombu.testing.stores import StoreSuite


class TestMemory(StoreSuite):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = MemoryStore()
        yield store
        store.close()


class TestRedis(StoreSuite):
    @pytest.fixture
    def store(self, redis_url: str) -> Iterator[Store]:
        store = open_redis_store({"url": redis_url}, namespace=f"t{uuid.uuid4().hex[:8]}")
        yield store
        store.close()


class TestSqlite(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        url = f"sqlite:///{tmp_path}/jobs.db?synchronous=off"  # what is on the disk does not matter here
        store = open_sqlite_store({"url": url}, namespace="t")
        yield store
        store.close()
