"""Looking for jobs: which ones are meant, and pages of what was found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.arguments import plain_text
from stratix_kombu.model.attempts import error_of as error_of
from stratix_kombu.model.given import snake_keys
from stratix_kombu.model.instant import instant
from stratix_kombu.model.names import shown
from stratix_kombu.model.record import LETTER, JobRecord
from stratix_kombu.model.shown import Shown

LOOKED_AT_ONCE = 1_000
"""How many jobs one call to the store looks at, whatever is looked for; and the most that it returns."""
HEAD = 200
"""How many characters of a reason are told of each failure."""


class Pattern:
    """A text in which ``*`` stands for any text and ``?`` for any character. Whatever is in it, comparing takes no more
    time than the lengths multiplied."""

    def __init__(self, text: str) -> None:
        first, *rest = (re.escape(part).replace(r"\?", ".") for part in text.split("*"))
        self._first = re.compile(first if rest else rf"{first}\Z", re.DOTALL)
        self._middle = [re.compile(part, re.DOTALL) for part in rest[:-1]]
        self._last = re.compile(rf"{rest[-1]}\Z", re.DOTALL) if rest else None

    def matches(self, text: str) -> bool:
        """Whether it describes all of the text."""
        found = self._first.match(text)
        for part in self._middle:
            found = found and part.search(text, found.end())
        if self._last is not None:
            found = found and self._last.search(text, found.end())
        return found is not None


class Looked(NamedTuple):
    """What a filter looks at."""

    id: str
    name: str
    group: str
    """'' for a native job, too."""
    reason: str
    worker: str
    at_ms: int
    """When it finished, or was added, if it has not."""
    kind: str
    """See ``NewJob.kind``."""


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs of a queue and a state are meant; what is left out does not matter. Stores that cannot call ``suits``
    do the same (see ``page.lua``)."""

    name: str = ""
    """Of the job: ``*`` stands for any text, ``?`` for any character."""
    id_prefix: str = ""
    """How its id begins."""
    reason: str = ""
    """A text in the reason of its failure, or of its last attempt's; ``*`` and ``?`` as in ``name``."""
    group: str = ""
    """Its group, as a whole."""
    since_ms: int = 0
    """It finished at this instant or later; or was added, if it has not finished."""
    until_ms: int = 0
    """And before this instant; 0 = it does not matter."""
    worker: str = ""
    """The worker that runs it or ran it last."""

    @cached_property
    def looks_at_records(self) -> bool:
        """Whether more than ids matters."""
        return any((self.name, self.reason, self.group, self.worker, self.since_ms, self.until_ms))

    @cached_property
    def _name(self) -> Pattern:
        return Pattern(self.name)

    @cached_property
    def _reason(self) -> Pattern:
        return Pattern(f"*{self.reason}*")

    def suits(self, one: Looked) -> bool:
        """Whether it means this job."""
        return (
            one.id.startswith(self.id_prefix)
            and self.since_ms <= one.at_ms < (self.until_ms or one.at_ms + 1)
            and (not self.name or self._name.matches(one.name))
            and (not self.group or one.group == self.group)
            and (not self.worker or one.worker == self.worker)
            and (not self.reason or self._reason.matches(one.reason))
        )


ALL_JOBS = JobFilter()


FIND_TEXTS = {"name": "name", "id": "id_prefix", "reason": "reason", "group": "group", "worker": "worker"}
"""Options that are texts, and what they are in a ``JobFilter``."""
FIND_INSTANTS = {"since": "since_ms", "until": "until_ms"}
FIND_OPTIONS = (*FIND_TEXTS, *FIND_INSTANTS)


def filter_of(options: Mapping[str, Any], call: str) -> JobFilter:
    """What the options of a call that looks for jobs mean. Raises ConfigurationError."""
    meant: dict[str, Any] = {}
    for name, value in snake_keys(options, FIND_OPTIONS, call).items():
        what = f"{call}: {name!r}"
        if name in FIND_TEXTS:
            meant[FIND_TEXTS[name]] = plain_text(value, what)
        elif value is not None:
            meant[FIND_INSTANTS[name]] = instant(value, what)
    return JobFilter(**meant)


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the jobs that were looked for. It may be short, or empty, before the last one."""

    records: list[JobRecord]
    cursor: str = ""
    """For the next page; '' after the last one."""
    looked: int = 0
    """How many jobs were looked at for it."""


def not_a_cursor(text: str) -> ConfigurationError:
    """The error for a cursor that no page has given."""
    return ConfigurationError(f"{shown(text)} is not a cursor of that list")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureHead:
    """A job that has failed, or the letter of one, and the beginning of the reason."""

    job_id: str
    at_ms: int
    """When it failed; of a letter, when that was added."""
    reason: str
    """No more than ``HEAD`` characters of it."""


def heads(jobs: Iterable[Looked], letters: bool) -> list[FailureHead]:
    """What is told of failed jobs, or of those that are letters."""
    return [
        FailureHead(job_id=one.id, at_ms=one.at_ms, reason=one.reason[:HEAD])
        for one in jobs
        if not letters or one.kind == LETTER
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonGroup(Shown):
    """Failures for the same reason."""

    reason: str
    """What their reasons have in common: each word with a digit in it is ``*``. It may be given to ``find_jobs``."""
    error: str
    """The class of the error, as the reason names it; '' if it names none."""
    count: int
    newest_job_id: str
    newest_on: int
    """When the newest one failed: milliseconds since the epoch."""


_VARIES = re.compile(r"\b(?=\w*\d)\w+", re.ASCII)


def common_reason(reason: str) -> str:
    """A reason without what differs from one failure to the next."""
    return _VARIES.sub("*", reason)


def grouped(failures: Iterable[FailureHead]) -> list[ReasonGroup]:
    """By reason, the one with most failures first."""
    counts, newest = Counter[str](), dict[str, FailureHead]()
    for one in failures:
        reason = common_reason(one.reason)
        counts[reason] += 1
        if reason not in newest or newest[reason].at_ms < one.at_ms:
            newest[reason] = one
    return together(
        ReasonGroup(
            reason=reason,
            error=error_of(one.reason),
            count=counts[reason],
            newest_job_id=one.job_id,
            newest_on=one.at_ms,
        )
        for reason, one in newest.items()
    )


def together(groups: Iterable[ReasonGroup]) -> list[ReasonGroup]:
    """Those of several pages, with one group for each reason; the one with most failures first."""
    by_reason: dict[str, ReasonGroup] = {}
    for one in groups:
        there = by_reason.get(one.reason)
        if there is not None:
            newest = max(there, one, key=lambda group: group.newest_on)
            one = replace(newest, count=there.count + one.count)
        by_reason[one.reason] = one
    return sorted(by_reason.values(), key=lambda group: (-group.count, -group.newest_on, group.reason))
