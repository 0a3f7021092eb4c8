"""Closing in time although a server may never answer: what waits for it is abandoned."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any

logger = logging.getLogger("stratix_kombu")

TELL_S = 5.0
"""How often to log what is being waited for."""
NAMED = 10
"""So many are named of those that are not waited for."""
GRACE_S = 1.0
"""How much longer than asked for closing may take: to hand back, to store outcomes, to say goodbye."""


def close_within(
    seconds: float | None,
    parts: Mapping[str, Callable[[], Any]],
    grace_s: float = GRACE_S,
    still: Callable[[], object] = lambda: None,
) -> list[Any]:
    """Close the named parts side by side, in the context of the caller, and return what they return, as far as they end
    within ``seconds`` and the grace (None = without a limit); False for those that do not, or raise. What takes longer
    goes on, on a thread that does not keep the process from ending.
    ``still`` is called every few seconds meanwhile."""
    deadline = None if seconds is None else time.monotonic() + seconds + grace_s
    ended: dict[str, Any] = {}

    def close(name: str, part: Callable[[], Any]) -> None:
        try:
            ended[name] = part()
        except Exception:
            logger.exception("closing %s failed", name, extra={"action": "close_failed"})
            ended[name] = False

    threads = []
    for name, part in parts.items():
        thread = threading.Thread(
            target=copy_context().run, args=(close, name, part), name="stratix-close", daemon=True
        )
        try:
            thread.start()
            threads.append(thread)
        except RuntimeError:  # the system has no thread left
            close(name, part)
    for thread in threads:
        while thread.is_alive() and (left_s := _left(deadline)) > 0:
            thread.join(min(left_s, TELL_S))
            if thread.is_alive() and left_s > TELL_S:
                still()
    if left := [name for name in parts if name not in ended]:
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        named = ", ".join(left[:NAMED]) + more
        logger.warning("closed without waiting any longer for %s", named, extra={"action": "left_behind"})
    return [ended.get(name, False) for name in parts]


def _left(deadline: float | None) -> float:
    return math.inf if deadline is None else max(deadline - time.monotonic(), 0)
