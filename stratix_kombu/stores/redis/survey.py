"""What the server says of itself: its version, and settings that would lose jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.stores.contract import Survey
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.eviction import HARMLESS, danger

OLDEST = "6.2"
"""The first version that has every command of the scripts: ZADD with GT and LT, RPOP with a count."""


def survey(client: Client) -> Survey:
    """Asks with INFO, and CONFIG where that is allowed: managed servers often refuse it."""
    server, memory, disk, role = (_info(client, one) for one in ("server", "memory", "persistence", "replication"))
    policy = memory.get("maxmemory_policy", HARMLESS)
    warnings, version = [], server.get("redis_version", OLDEST)
    if is_too_old(version):
        warnings.append(f"it is Redis {version}, and jobs cannot be taken from it: {OLDEST} or later is needed")
    if role.get("role") == "slave":
        warnings.append("it is a replica, which takes no writes: name its master")
    if policy != HARMLESS:
        warnings.append(danger(policy))
    if disk.get("aof_enabled") == "0":
        snapshots = _snapshots(client)
        if snapshots == "":
            warnings.append("nothing is kept on disk, so a restart loses all jobs: set appendonly to yes")
        else:
            warnings.append("appendonly is no: a crash of the server loses the jobs since its last snapshot")
    return Survey(server=f"Redis {server.get('redis_version', '')}".strip(), warnings=tuple(warnings))


def is_too_old(version: str) -> bool:
    """Whether a server of that version lacks what scripts need. What is no version is taken as new enough."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) < tuple(map(int, OLDEST.split(".")))


def _info(client: Client, section: str) -> dict[str, str]:
    answer: Any = client.run("INFO", section, again=True)
    if isinstance(answer, Mapping):  # from a cluster, where the client reads it
        one = next(iter(answer.values()), None)
        return {key: str(value) for key, value in (one if isinstance(one, Mapping) else answer).items()}
    lines = (line.partition(":") for line in bytes(answer).decode().splitlines())
    return {key: value for key, colon, value in lines if colon}


def _snapshots(client: Client) -> str | None:
    """When snapshots are taken, '' for never, None if that cannot be known."""
    try:
        answer = client.run("CONFIG", "GET", "save", again=True)
    except StoreUnavailable:
        return None
    values = list(answer.values()) if isinstance(answer, Mapping) else list(answer)[1:]
    return None if not values else values[0].decode() if isinstance(values[0], bytes) else str(values[0])
