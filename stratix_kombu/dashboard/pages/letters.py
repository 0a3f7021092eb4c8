"""Dead letters: what failed for good, by reason, and the way back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from stratix_kombu.dashboard import reading
from stratix_kombu.dashboard.pages.queue import known, limit_of
from stratix_kombu.dashboard.reading import Reason
from stratix_kombu.dashboard.site import Page, Visit
from stratix_kombu.model.shown import Shown


@dataclass(frozen=True, slots=True)
class LetterQueue(Shown):
    """A queue that has dead letters."""

    name: str
    letters: int
    oldest_ms: int | None


@dataclass(frozen=True, slots=True)
class LetterQueues(Shown):
    """The queues that have dead letters."""

    queues: list[LetterQueue]


@dataclass(frozen=True, slots=True)
class Reasons(Shown):
    """Why jobs of a queue failed, the most frequent reason first."""

    queue: str
    reasons: list[Reason]


@dataclass(frozen=True, slots=True)
class LetterRow(Shown):
    """A dead letter: the job that it tells of."""

    letter: str
    """Its own id."""
    id: str
    queue: str
    name: str
    reason: str | None
    attempts: int
    at: int


@dataclass(frozen=True, slots=True)
class LetterPage(Shown):
    """Some of the letters of a queue, oldest first."""

    queue: str
    letters: list[LetterRow]
    cursor: str
    reasons: list[Reason]
    """Of the first thousand letters."""


def queues(visit: Visit) -> Page:
    """The queues that have dead letters. A queue with a worker is none of them: that would take the letters as jobs."""
    rows = [
        row
        for row in reading.queue_rows(visit.app, lambda name: visit.may("view", name))
        if row.counts["waiting"] and not row.workers
    ]
    found = [
        LetterQueue(row.name, row.counts["waiting"], row.oldest_waiting_ms)
        for row in rows
        if reading.has_letters(visit.app, row.name)
    ]
    return Page("letter_queues.html", LetterQueues(found))


def letters(visit: Visit, name: str) -> Page:
    """The dead letters of a queue that fit ``reason`` (a part of it), ``name`` and ``from`` (the queue of the job)."""
    known(visit, name)
    get = visit.request.get
    given = {key: get(key).strip() for key in ("reason", "name", "from") if get(key).strip()}
    page, cursor = reading.letters(visit.app, name, get("cursor"), limit_of(visit))
    rows = [_row(visit, record, letter) for record, letter in page if reading.is_letter(letter, given)]
    reasons = redacted(visit, reading.reasons(visit.app, name, of_letters=True))
    found = LetterPage(name, rows, cursor, reasons)
    path = f"/queues/{name}/dead-letters"
    view = {"given": given, "may": visit.allowed(name), "next": visit.url(path, **given, cursor=cursor)}
    return Page("letters.html", found, view)


def reasons(visit: Visit, name: str) -> Page:
    """Why the jobs of a queue failed: the newest thousand, by what their reasons have in common."""
    known(visit, name)
    return Page("reasons.html", Reasons(name, redacted(visit, reading.reasons(visit.app, name))))


def redacted(visit: Visit, groups: list[Reason]) -> list[Reason]:
    """As they may be shown."""
    return [replace(one, reason=str(visit.site.redact("error", one.reason) or "")) for one in groups]


def _row(visit: Visit, record: Any, letter: Any) -> LetterRow:
    job = visit.app.queue.get_queue(record.queue).handle(record)
    reason = visit.site.redact("error", letter["reason"], job)
    return LetterRow(
        record.id, letter["id"], letter["queue"], letter["name"], reason, letter["attempts"], record.created_ms
    )
