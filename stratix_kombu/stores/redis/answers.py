"""What scripts answer, and what is sent to them, as values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from stratix_kombu.model.letter import NO_FALLBACK, Fallback, retention_text
from stratix_kombu.model.record import KEEP_ALL, Added, Change, Completion, Lost, Placed, Ready
from stratix_kombu.model.state import State
from stratix_kombu.stores.redis.fields import READS_OF_READY
from stratix_kombu.stores.redis.records import then_text


def change_of(answer: Sequence[Any]) -> Change:
    """The common answer {more, stale, ready, next_ms, affected, cursor, lost}; the last four may be missing."""
    affected = tuple(one.decode() for one in answer[4]) if len(answer) > 4 else ()
    return Change(
        ready=ready_of(answer[2]),
        stale=tuple(one.decode() for one in answer[1]),
        affected=affected,
        more=bool(answer[0]),
        cursor=answer[5].decode() if len(answer) > 5 else "",
        lost=tuple(Lost(*json.loads(one)) for one in answer[6]) if len(answer) > 6 else (),
    )


def ready_of(flat: Sequence[Any]) -> tuple[Ready, ...]:
    parts = (map(read, flat[place :: len(READS_OF_READY)]) for place, read in enumerate(READS_OF_READY))
    return tuple(map(Ready, *parts)) if flat else ()


@cache
def fallback_text(given: Fallback) -> str:
    if given == NO_FALLBACK:
        return ""
    value: dict[str, str] = {"dead_letter": given.dead_letter} if given.dead_letter else {}
    for name in ("keep_completed", "keep_failed"):
        if getattr(given, name) != KEEP_ALL:
            value[name] = retention_text(getattr(given, name))
    return json.dumps(value)


def completion_arguments(results: Sequence[Completion]) -> list[str]:
    flat: list[str] = []
    for result in results:
        flat += (result.job_id, result.token, result.result, then_text(result.then), result.data, result.message)
    return flat


def added_of(count: int, answer: Sequence[Any]) -> Added:
    """The answer of add.lua and fire.lua about so many jobs."""
    more, known, ready, others, now, first, told = answer
    placed: list[Placed | None] = [Placed(State.WAITING, now, number) for number in range(first, first + count)]
    if not (more or known or ready or others or told):  # as mostly
        return Added(tuple(placed))
    flat = [other.decode() for other in others]
    instead = tuple(zip(flat[::2], flat[1::2], strict=True))
    duplicates = frozenset(one.decode() for one in known)
    for place, one in zip(told[::2], told[1::2], strict=True):
        placed[place] = Placed(State(one[0].decode()), *map(int, one[1:])) if one else None
    return Added(tuple(placed), duplicates, ready_of(ready), bool(more), instead)
