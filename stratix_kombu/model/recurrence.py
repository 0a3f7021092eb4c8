"""When something that repeats runs next: cron expressions, intervals, their bounds. A pure value.

Cron expressions are those of ``model/cron.py``, at local times of ``timezone``. Intervals count from ``start_ms``, or
from the epoch, so that every process finds the same slots.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any
from zoneinfo import ZoneInfo

from stratix_kombu.errors import ConfigurationError, InvalidPayload
from stratix_kombu.model.codec import decode_mapping
from stratix_kombu.model.cron import NoSuchDate, is_alias, read as read_cron
from stratix_kombu.model.instant import FIRST_MS, LAST_MS
from stratix_kombu.model.zones import check_zone

MIN_EVERY_MS = 100
MAX_CRON = 500
_BY_CHANCE = re.compile(r"[rRhH](\W|$)")
_LAST_SLOT_MS = 253_000_000_000_000
"""Year 9987: nothing is looked for beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """A rule, checked when it is made. Raises ConfigurationError.

    >>> Recurrence(cron="30 3 * * *", timezone="Asia/Shanghai").next_after(0)
    70200000
    """

    cron: str = ""
    timezone: str = "UTC"
    every_ms: int = 0
    limit: int = 0
    """Most runs; 0 = without bound."""
    start_ms: int = 0
    """Before 1970 it is negative."""
    end_ms: int = 0
    """No slot is after it; 0 = without end."""

    def __post_init__(self) -> None:
        if bool(self.cron) == bool(self.every_ms):
            raise ConfigurationError(f"give either 'cron' or 'every', which is at least {MIN_EVERY_MS} ms")
        if self.cron:
            self._check_cron()
        elif self.every_ms < MIN_EVERY_MS:
            raise ConfigurationError(f"'every' must be at least {MIN_EVERY_MS} ms, not {self.every_ms!r}")
        for name in ("every_ms", "limit", "start_ms", "end_ms"):
            if not FIRST_MS <= getattr(self, name) <= LAST_MS:
                raise ConfigurationError(f"{name!r} is beyond the calendar: {getattr(self, name)!r}")
        if self.limit < 0:
            raise ConfigurationError(f"'limit' must be at least 1, not {self.limit!r}")
        if self.end_ms and self.end_ms < self.start_ms:
            raise ConfigurationError("'end_date' is before 'start_date'")

    def _check_cron(self) -> None:
        if len(self.cron) > MAX_CRON:
            raise ConfigurationError(f"cron {self.cron[:50]!r}... has more than {MAX_CRON} characters")
        fields = len(self.cron.split())
        if fields not in (5, 6) and not is_alias(self.cron):
            raise ConfigurationError(
                f"cron {self.cron!r} has {fields} fields: give five (minute hour day month weekday), or six with the "
                "seconds first"
            )
        if any(_BY_CHANCE.match(part) for part in self.cron.split()):
            raise ConfigurationError(f"cron {self.cron!r} leaves a field to chance: every process would choose another")
        check_zone(self.timezone)
        try:
            read_cron(self.cron)
        except NoSuchDate as problem:
            raise ConfigurationError(f"cron {self.cron!r} never fires: there is no such date") from problem
        except ValueError as problem:
            raise ConfigurationError(f"cron {self.cron!r} cannot be read: {problem}") from problem

    def next_after(self, instant_ms: int) -> int | None:
        """The first slot after an instant, in milliseconds since the epoch; None when there is none any more."""
        after = max(instant_ms, self.start_ms - 1) if self.start_ms else instant_ms
        if after >= _LAST_SLOT_MS:
            return None
        if self.cron:
            slot = read_cron(self.cron).next_after(after, ZoneInfo(self.timezone))
        else:
            slot = self.start_ms + ((after - self.start_ms) // self.every_ms + 1) * self.every_ms
        return None if slot is None or (self.end_ms and slot > self.end_ms) else slot

    def encode(self) -> str:
        """The rule as JSON: the same text for the same rule."""
        kept = {name: value for name, value in asdict(self).items() if value}
        return json.dumps(kept, sort_keys=True, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Recurrence:
        """What ``encode`` wrote. Raises InvalidPayload for anything else."""
        kept = decode_mapping(text, "a rule")
        try:
            _check_types(kept)
            return cls(**kept)
        except (TypeError, ConfigurationError) as problem:
            raise InvalidPayload(f"a rule cannot be read: {problem}") from problem


def _check_types(kept: dict[str, Any]) -> None:
    for name, value in kept.items():
        text = name in ("cron", "timezone")
        if not (isinstance(value, str) if text else type(value) is int):
            raise ConfigurationError(f"{name!r} is {value!r}"[:200])
