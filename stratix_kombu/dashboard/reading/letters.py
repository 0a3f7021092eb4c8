"""Dead letters, and why their jobs failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stratix_kombu.lifecycle.redrive import letter_of
from stratix_kombu.model.finding import Pattern, common_reason, error_of
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.shown import Shown
from stratix_kombu.model.state import State

if TYPE_CHECKING:
    from stratix_kombu.application import Application

Letter = tuple[JobRecord, Mapping[str, Any]]
"""A letter, and what it says."""


@dataclass(frozen=True, slots=True)
class Reason(Shown):
    """Failures for one reason."""

    reason: str
    error: str
    """The class of the error."""
    count: int
    newest_job: str
    newest_on: int


def letters(app: Application, queue: str, cursor: str, limit: int) -> tuple[list[Letter], str]:
    """Some of the letters of a queue, oldest first; where the next ones begin."""
    records, cursor = app.queue.engine.store.queries.scan(queue, State.WAITING, cursor, limit)
    return [(record, letter) for record in records if (letter := letter_of(record.data)) is not None], cursor


def has_letters(app: Application, queue: str) -> bool:
    """Whether the first waiting job is a letter."""
    return bool(app.queue.get_queue(queue).get_dead_letters(0, 0))


def is_letter(letter: Mapping[str, Any], given: Mapping[str, str]) -> bool:
    """Whether a letter is meant."""
    return (
        Pattern(f"*{given.get('reason', '')}*").matches(letter["reason"] or "")
        and given.get("name") in (None, letter["name"])
        and given.get("from") in (None, letter["queue"])
    )


def letter_reasons(app: Application, queue: str) -> list[Reason]:
    """Why the jobs failed that the first thousand letters tell of, the most frequent reason first."""
    found, _ = letters(app, queue, "", 1_000)
    groups: dict[str, list[Letter]] = {}
    for record, letter in found:
        groups.setdefault(common_reason(letter["reason"] or ""), []).append((record, letter))
    reasons = []
    for reason, those in groups.items():
        newest, _ = max(those, key=lambda one: one[0].created_ms)
        reasons.append(Reason(reason, error_of(reason), len(those), newest.id, newest.created_ms))
    return sorted(reasons, key=lambda one: (-one.count, one.reason))
