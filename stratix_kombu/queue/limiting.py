"""When jobs of a queue may start: pausing it, its rate limit, and its bound over all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stratix_kombu.config.options import Duration, QueueOptions, keyed, limit_of, milliseconds, together, whole
from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.pause import pause, resume
from stratix_kombu.lifecycle.postpone import hold
from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.letter import Fallback

if TYPE_CHECKING:
    from stratix_kombu.types import LimiterOpts, Unpack


class Limiting:
    """The methods of a queue that let its jobs start or wait."""

    name: str
    _engine: Engine
    _options: QueueOptions

    @property
    def bounds(self) -> Bounds:
        """How its jobs may start, by its options."""
        options, default = self._options, self._options.default_job_options
        fallback = Fallback(options.dead_letter, default.keep_completed, default.keep_failed)
        limit = options.limiter and keyed(options.limiter, f"queue:{self.name}")
        return Bounds(limit, options.global_concurrency, options.group_concurrency, fallback)

    def pause(self) -> None:
        """Let no further job start, in any process; jobs that run go on."""
        pause(self._engine, self.name)

    def resume(self) -> None:
        """Let jobs start again."""
        resume(self._engine, self.name)

    def set_rate_limit(self, limiter: LimiterOpts | None = None, **options: Unpack[LimiterOpts]) -> None:
        """Set the queue's limiter at run time, for all workers everywhere, in place of the one in their options;
        without options it is theirs again. Options as for ``limiter``.

        >>> queue.set_rate_limit(max=100, duration=60_000)  # doctest: +SKIP
        """
        given = together(limiter, options, "set_rate_limit")
        limit = keyed(limit_of(given, "set_rate_limit"), f"queue:{self.name}") if given else None
        settle(self._engine, self._engine.store.transitions.set_limit(self.name, limit))

    def get_rate_limit_ttl(self) -> int:
        """In how many milliseconds the next job may start by the queue's limiter and ``hold``; 0 = now."""
        return self._engine.store.queries.limit_ttl(self.name, self.bounds.limit)

    def hold(self, duration: Duration) -> None:
        """Let no further job start for ``duration`` (milliseconds or a timedelta), in any process, as ``RateLimited``
        does. A shorter hold never shortens a longer one; 0 lifts it."""
        hold(self._engine, self.name, milliseconds(duration, "hold"))

    def set_global_concurrency(self, most: int | None) -> None:
        """Let at most that many jobs of the queue be active at a time over all workers (0 = without bound); None
        leaves it to the option ``global_concurrency`` of the workers again."""
        if most is not None:
            whole(most, "set_global_concurrency", 0, 1_000_000)
        settle(self._engine, self._engine.store.transitions.set_global_concurrency(self.name, most))
