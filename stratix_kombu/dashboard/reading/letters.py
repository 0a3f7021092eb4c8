"""Dead letters, and why their jobs failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stratix_kombu.lifecycle.redrive import letter_of
from stratix_kombu.model.finding import Pattern
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.shown import Shown
from stratix_kombu.model.state import State

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.job import Job

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


def letter_in(job: Job) -> Mapping[str, Any] | None:
    """The letter that a job is, if it is one."""
    return letter_of(job._record.data)


def has_letters(app: Application, queue: str) -> bool:
    """Whether the first waiting job is a letter."""
    found, _ = letters(app, queue, "", 1)
    return bool(found)


def is_letter(letter: Mapping[str, Any], given: Mapping[str, str]) -> bool:
    """Whether a letter is meant."""
    return (
        Pattern(f"*{given.get('reason', '')}*").matches(letter["reason"] or "")
        and given.get("name") in (None, letter["name"])
        and given.get("from") in (None, letter["queue"])
    )


def reasons(app: Application, queue: str, of_letters: bool = False) -> list[Reason]:
    """Why jobs failed, the most frequent reason first: of the newest thousand failed jobs of a queue, or of the first
    thousand letters in it."""
    one = app.queue.get_queue(queue)
    page = one.get_letter_reasons() if of_letters else one.get_failure_reasons()
    return [
        Reason(group.reason, group.error, group.count, group.newest_job_id, group.newest_on) for group in page.groups
    ]
