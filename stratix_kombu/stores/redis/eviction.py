"""A server that removes keys when its memory is full removes jobs: every process that uses one warns, once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisClusterException, RedisError, ResponseError

logger = logging.getLogger("stratix_kombu.stores")

HARMLESS = "noeviction"
_told: set[str] = set()
"""Addresses of servers of which this process has warned."""


def danger(policy: str) -> str:
    """What is wrong with a policy other than ``noeviction``."""
    return f"maxmemory-policy is {policy}: when its memory is full Redis removes jobs; set it to {HARMLESS}"


def look(connection: Any, address: str) -> None:
    """Ask over a connection that was just opened."""
    connection.send_command("INFO", "memory")
    try:
        answer = connection.read_response()
    except ResponseError:  # not permitted to ask
        return
    lines = (line.partition(":") for line in bytes(answer).decode().splitlines())
    tell(address, {key: value for key, _, value in lines})


def look_at_cluster(client: Any, address: str) -> None:
    """Ask one of its nodes."""
    with suppress(RedisError, RedisClusterException):
        answer = client.info("memory")
        node = next(iter(answer.values()), None)
        tell(address, node if isinstance(node, Mapping) else answer)


def tell(address: str, memory: Mapping[str, Any]) -> None:
    """``memory`` is what the server says in that section of INFO."""
    policy = str(memory.get("maxmemory_policy", HARMLESS))
    if policy != HARMLESS and address not in _told:
        _told.add(address)
        logger.warning("redis://%s: %s", address, danger(policy), extra={"action": "eviction"})
