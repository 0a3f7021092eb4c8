"""Looking for jobs: which ones are meant, and pages of what was found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.shown import Shown

LOOKED_AT_ONCE = 1_000
"""How many jobs one call to the store looks at, whatever is looked for; and the most that it returns."""
HEAD = 200
"""How many characters of a reason are told of each failure."""


def matches(text: str, pattern: str) -> bool:
    """Whether a pattern describes all of a text: ``*`` is any text, ``?`` any character. Takes no more time than their
    lengths multiplied."""
    place = at = 0
    star = mark = -1
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[place]):
            place, at = place + 1, at + 1
        elif star >= 0:
            mark += 1
            place, at = mark, star + 1
        else:
            return False
    return not pattern[at:].strip("*")


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
        """Whether more than ids and instants matters."""
        return bool(self.name or self.reason or self.group or self.worker)

    @cached_property
    def in_reason(self) -> str:
        """The pattern of the whole reason."""
        return f"*{self.reason}*" if self.reason else ""

    def suits(self, record: JobRecord, group: str) -> bool:
        """Whether it means this job, of that group."""
        at = (record.finished_ms if record.state.finished else 0) or record.created_ms
        return (
            record.id.startswith(self.id_prefix)
            and self.since_ms <= at < (self.until_ms or at + 1)
            and (not self.name or matches(record.name, self.name))
            and (not self.group or group == self.group)
            and (not self.worker or record.worker == self.worker)
            and (not self.reason or matches(record.failed_reason or "", self.in_reason))
        )


ALL_JOBS = JobFilter()


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the jobs that were looked for. It may be short, or empty, before the last one."""

    records: list[JobRecord]
    cursor: str = ""
    """For the next page; '' after the last one."""
    looked: int = 0
    """How many jobs were looked at for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureHead:
    """A job that has failed, or the letter of one, and the beginning of the reason."""

    job_id: str
    at_ms: int
    """When it failed; of a letter, when that was added."""
    reason: str
    """No more than ``HEAD`` characters of it."""


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


_VARIES = re.compile(r"\w*\d\w*", re.ASCII)
_ERROR = re.compile(r"([A-Za-z_][\w.]*)(?::|\Z)", re.ASCII)


def common_reason(reason: str) -> str:
    """A reason without what differs from one failure to the next."""
    return _VARIES.sub("*", reason)


def error_of(reason: str) -> str:
    """The class of the error that a reason begins with, or ''."""
    found = _ERROR.match(reason)
    return found[1] if found else ""


def grouped(failures: list[FailureHead]) -> list[ReasonGroup]:
    """By reason, the one with most failures first."""
    by_reason: dict[str, list[FailureHead]] = {}
    for one in failures:
        by_reason.setdefault(common_reason(one.reason), []).append(one)
    groups = []
    for reason, those in by_reason.items():
        newest = max(those, key=lambda one: one.at_ms)
        groups.append(
            ReasonGroup(
                reason=reason,
                error=error_of(those[0].reason),
                count=len(those),
                newest_job_id=newest.job_id,
                newest_on=newest.at_ms,
            )
        )
    return sorted(groups, key=lambda group: (-group.count, -group.newest_on, group.reason))
