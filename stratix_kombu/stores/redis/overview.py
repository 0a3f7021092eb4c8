"""Reading what ``lua/includes/status_of.lua`` and ``lua/overview.lua`` answer."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Sequence
from typing import Any

from stratix_kombu.model.limiter import limit_from
from stratix_kombu.model.overview import RECENT_MINUTES, QueueOverview, recent_of
from stratix_kombu.model.record import Limit
from stratix_kombu.stores.redis.metrics import tally_of

logger = logging.getLogger("stratix_kombu.stores")
_ENDED = struct.Struct(">2I")
"""The first of what is kept of a minute: how many completed, how many failed."""
_COUNTED = ("waiting", "active", "delayed", "blocked", "completed", "failed")


def status_values(queue: str, found: Sequence[Any]) -> dict[str, Any]:
    """What ``QueueStatus`` is made of."""
    paused, *numbers = (int(one) for one in found)
    counts = dict(zip(_COUNTED, numbers[:6], strict=True))
    counts["paused"] = 0
    if paused:
        counts["paused"], counts["waiting"] = counts["waiting"], 0
    workers, oldest, overdue = numbers[6:]
    return {
        "name": queue,
        "paused": bool(paused),
        "counts": counts,
        "workers": workers,
        "oldest_waiting_ms": None if oldest < 0 else oldest,
        "overdue_ms": overdue,
    }


def overview_of(this: int, found: Sequence[Any]) -> QueueOverview:
    """A queue; ``this`` is the number of the current minute."""
    name, status, tallies, held_ms, limit, bound = found
    ended = [_ENDED.unpack_from(raw.ljust(_ENDED.size, b"\0")) if raw else (0, 0) for raw in tallies]
    last = tallies[-RECENT_MINUTES:]
    recent = recent_of([tally_of(minute, raw) for minute, raw in enumerate(last, this - len(last) + 1)])
    return QueueOverview(
        **status_values(name.decode(), status),
        completed=tuple(one[0] for one in ended),
        failed=tuple(one[1] for one in ended),
        recent=recent,
        held_ms=int(held_ms),
        limit=_limit_of(limit) if limit else None,
        global_concurrency=int(bound) if bound else None,
    )


def _limit_of(text: bytes) -> Limit | None:
    """None where it cannot be read: the other queues are to be shown all the same."""
    try:
        return limit_from(json.loads(text))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as problem:
        logger.warning("a limit in the store cannot be read: %s", problem, extra={"action": "limit_unreadable"})
        return None
