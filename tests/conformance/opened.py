"""One empty store of each kind, to be compared."""

from __future__ import annotations

import uuid
from pathlib import Path

from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.memory import MemoryStore
from stratix_kombu.stores.sqlite import open_sqlite_store
from tests.conformance.asked_twice import open_asking_twice


def one_of_each(redis_url: str, folder: Path) -> list[Store]:
    """The memory store, which is the specification, Redis asking each question twice, and SQLite."""
    name = uuid.uuid4().hex[:10]
    file = f"sqlite:///{folder}/{name}.db?synchronous=off"  # what is on the disk does not matter here
    return [MemoryStore(), open_asking_twice(redis_url, name), open_sqlite_store({"url": file}, namespace=name)]
