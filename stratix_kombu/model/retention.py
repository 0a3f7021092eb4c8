"""What is kept of finished jobs, as users say it. A pure value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from stratix_kombu.model.given import milliseconds, snake_keys, whole
from stratix_kombu.model.suspects import suspect_age, suspect_count


@dataclass(frozen=True, slots=True, repr=False)
class Retention:
    """What is kept of finished jobs: the newest ``count`` of the queue, each for ``age_ms``; None = no bound.

    A count of 0 removes the job itself and no other."""

    count: int | None = None
    age_ms: int | None = None

    def __repr__(self) -> str:
        count = "all jobs" if self.count is None else f"the newest {self.count:,} jobs"
        age = "" if self.age_ms is None else f", each for {self.age_ms:,} ms ({timedelta(milliseconds=self.age_ms)})"
        return f"<Retention: {count}{age}>"


KEEP_ALL = Retention()
KEEP_NONE = Retention(count=0)


def retention(value: object, what: str) -> Retention:
    """True: keep none; False: all; a number: the newest that many; a timedelta or ``{"age", "count"}``: by age (in
    milliseconds, or a timedelta) and count. Logs a warning, once for each, where a number is probably an age, or an age
    probably in seconds. Raises ConfigurationError, naming ``what``."""
    if value is True:
        return KEEP_NONE
    if value is False or value is None:
        return KEEP_ALL
    if isinstance(value, timedelta):
        return Retention(age_ms=milliseconds(value, what))
    if isinstance(value, Mapping):
        given = snake_keys(value, ("age", "count"), what)
        age, count = given.get("age"), given.get("count")
        return Retention(
            None if count is None else whole(count, f"{what}['count']", 0, 10**9),
            None if age is None else _age_ms(age, f"{what}['age']"),
        )
    count = whole(value, what, 0, 10**9)
    suspect_count(count, what)
    return Retention(count=count)


def _age_ms(value: object, what: str) -> int:
    age_ms = milliseconds(value, what)
    if not isinstance(value, timedelta):
        suspect_age(age_ms, what)
    return age_ms
