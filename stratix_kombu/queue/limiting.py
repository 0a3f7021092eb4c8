"""When jobs of a queue may start: pauses, its rate limit, and its bound over all workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratix_kombu.config.options import Duration, QueueOptions, keyed, limit_of, milliseconds, whole
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.one_queue import hold, set_global_concurrency, set_limit
from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.letter import Fallback


class Limiting:
    """Controls when the jobs of one queue may start; see the methods of ``Queue``."""

    def __init__(self, engine: Engine, queue: str, options: QueueOptions) -> None:
        self._engine = engine
        self._queue = queue
        default = options.default_job_options
        fallback = Fallback(options.dead_letter, default.keep_completed, default.keep_failed)
        limit = options.limiter and keyed(options.limiter, f"queue:{queue}")
        self.bounds = Bounds(limit, options.global_concurrency, options.group_concurrency, fallback)
        """The limits in its options."""

    def set_rate_limit(self, given: Mapping[str, Any]) -> None:
        limit = keyed(limit_of(given, "set_rate_limit"), f"queue:{self._queue}") if given else None
        set_limit(self._engine, self._queue, limit)

    def rate_limit_ttl(self) -> int:
        return self._engine.store.queries.limit_ttl(self._queue, self.bounds.limit)

    def hold(self, duration: Duration) -> None:
        hold(self._engine, self._queue, milliseconds(duration, "hold"))

    def set_global_concurrency(self, most: int | None) -> None:
        if most is not None:
            whole(most, "set_global_concurrency", 0, 1_000_000)
        set_global_concurrency(self._engine, self._queue, most)
