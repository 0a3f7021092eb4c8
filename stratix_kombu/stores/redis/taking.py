"""Taking jobs: what the scripts are asked, and what they answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stratix_kombu.errors import InvalidPayload
from stratix_kombu.model.claims import Bounds, Taken
from stratix_kombu.model.state import Refusal
from stratix_kombu.stores.contract import TAKEN_AT_ONCE
from stratix_kombu.stores.redis.answers import fallback_text
from stratix_kombu.stores.redis.records import ClaimsOf
from stratix_kombu.stores.redis.texts import limit_text

logger = logging.getLogger("stratix_kombu.stores")


@dataclass(frozen=True, slots=True)
class Take:
    """What take.lua is asked, and answers."""

    queue: str
    worker: str
    request: str

    def arguments(self, lease_ms: int, want: int, bounds: Bounds, permits: int) -> tuple[Any, ...]:
        return (
            self.queue,
            self.worker,
            lease_ms,
            min(want, TAKEN_AT_ONCE),
            limit_text(bounds.limit),
            bounds.global_concurrency,
            bounds.group_concurrency,
            fallback_text(bounds.fallback),
            permits,
            self.request,
        )

    def answer(self, answer: Sequence[Any]) -> Taken:
        now, why, until, left, *answers = answer
        claims, found = [], ClaimsOf(self.queue, self.worker, self.request, now)
        for *flat, job_id, position, started, begun in answers:
            try:
                claims.append(found.read(job_id, position, started, begun, zip(flat[::2], flat[1::2], strict=True)))
            except InvalidPayload as problem:
                # Its lease expires, again and again until it has failed; the others are not held up by it.
                logger.warning("%s", problem, extra={"action": "record_unreadable", "queue": self.queue})
        refusal = Refusal(why.decode()) if why else None
        return Taken(claims, refusal, max(int(until) - now, 0) if until else 0, bool(left))
