"""Numbers that can be used and were probably meant otherwise: a warning in the log, once for each place.

Only plain numbers can be mistaken so: a timedelta, an aware datetime and ``{"count": ...}`` say what they are.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

logger = logging.getLogger("stratix_kombu.queue")

MINUTE_MS, HOUR_S = 60_000, 3600
YEAR_MS = 365 * 24 * 3600 * 1000
THIS_CENTURY_S = (978_307_200, 4_102_444_800)
MOST_PLACES = 1000

_said: set[str] = set()


def suspect_count(count: int, what: str) -> None:
    """A count that is whole minutes in milliseconds, ten of them or more, is most likely an age."""
    if count >= 10 * MINUTE_MS and not count % MINUTE_MS:
        age = timedelta(milliseconds=count)
        _say(
            what,
            f"is a count: the newest {count:,} jobs are kept. For an age of {age} write {{'age': {count}}} "
            f"(milliseconds) or {age!r}",
        )


def suspect_age(age: int, what: str) -> None:
    """An age that is whole hours in seconds, as BullMQ counts it, and no whole minutes in milliseconds."""
    if age >= HOUR_S and not age % HOUR_S and age % MINUTE_MS:
        meant = timedelta(seconds=age)
        _say(
            what,
            f"is in milliseconds: jobs are kept for {timedelta(milliseconds=age)}. For {meant} write {age * 1000} "
            f"or {meant!r}",
        )


def suspect_delay(delay: int, what: str) -> None:
    """A delay of decades is most likely an instant."""
    if delay >= 20 * YEAR_MS:
        _say(what, f"is a time from now: {delay // YEAR_MS} years. For an instant use 'run_at'")


def suspect_unix_time(instant: float, what: str) -> None:
    """An instant that is one of this century in seconds, as ``time.time()`` counts them."""
    if THIS_CENTURY_S[0] <= instant < THIS_CENTURY_S[1]:
        at, meant = (datetime.fromtimestamp(of, timezone.utc).isoformat() for of in (instant / 1000, instant))
        _say(what, f"is an instant in milliseconds: {at}, which is past. For {meant} write {instant * 1000:.0f}")


def suspect_instant(instant: int, what: str) -> None:
    """An instant of the first years after 1970 is most likely a delay."""
    if 0 <= instant < 10 * YEAR_MS:
        at = datetime.fromtimestamp(instant / 1000, timezone.utc)
        _say(what, f"is an instant: {at.isoformat()}, which is past. For a duration use 'delay'")


def suspect_seconds(seconds: float, what: str) -> None:
    """Ten thousand seconds and more are most likely milliseconds."""
    if seconds >= 10_000 and not seconds % 100:
        _say(
            what,
            f"is in seconds: {timedelta(seconds=seconds)}. For {timedelta(seconds=seconds / 1000)} write "
            f"{seconds / 1000:g}",
        )


def suspect_ttl(ttl: int, what: str) -> None:
    """Less than a tenth of a second, as a plain number, is most likely seconds."""
    if ttl < 100:
        _say(what, f"is in milliseconds: it ends after {ttl / 1000:g} s. For {ttl} s write {ttl * 1000}")


def _say(what: str, problem: str) -> None:
    if what not in _said and len(_said) < MOST_PLACES:
        _said.add(what)
        logger.warning("%s %s", what, problem, extra={"action": "suspect_option"})
