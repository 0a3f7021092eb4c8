"""Every built-in store conforms."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.memory import MemoryStore
from stratix_kombu.stores.redis import open_redis_store
from stratix_kombu.testing.stores import StoreSuite
from tests.conformance.opened import empty_file, empty_schema
from tests.postgres_server import database_of


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sqlite")


class TestSqlite(StoreSuite):
    @pytest.fixture
    def store(self, folder: Path) -> Iterator[Store]:
        store = empty_file(folder, uuid.uuid4().hex)
        yield store
        store.close()


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[str]:
    with database_of(postgres_url) as url:
        yield url


class TestPostgres(StoreSuite):
    @pytest.fixture
    def store(self, database: str) -> Iterator[Store]:
        store = empty_schema(database)
        yield store
        store.close()
