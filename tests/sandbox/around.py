"""Middleware that a sandbox imports, and the handlers that it is around."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

SEEN: list[str] = []


def plain(job: Any) -> Iterator[None]:
    SEEN.append(f"in {job.headers['who']}")
    yield
    SEEN.append("out")


async def awaited(job: Any) -> AsyncIterator[None]:
    SEEN.append("awaited in")
    yield
    SEEN.append("awaited out")


def handler(job: Any) -> list[Any]:
    return [os.getpid(), *SEEN]


async def async_handler(job: Any) -> list[Any]:
    return [os.getpid(), *SEEN]


def failing(job: Any) -> None:
    raise OSError("away")
