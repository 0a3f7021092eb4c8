"""Which jobs of a queue are meant: read from the fields of a URL or form, and written there again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from stratix_kombu.dashboard.http import Refused
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.instant import instant
from stratix_kombu.schedule import interval_ms

STATES = ("waiting", "active", "delayed", "blocked", "completed", "failed")


@dataclass(frozen=True, slots=True)
class Which:
    """A state, and what else must be true. The fields are texts, as they were written."""

    state: str = "waiting"
    name: str = ""
    id: str = ""
    """What the id begins with."""
    reason: str = ""
    """What the reason of a failure contains."""
    group: str = ""
    worker: str = ""
    since: str = ""
    """An instant, or how long ago: ``2 h``."""
    until: str = ""

    @classmethod
    def of(cls, get: Callable[[str], str]) -> Which:
        """From the fields of a request. Raises Refused."""
        said = {name: get(name).strip() for name in cls.__slots__}
        said["state"] = said["state"] or "waiting"
        if said["state"] not in STATES:
            raise Refused(400, f"{said['state']!r} is not a state")
        made = cls(**said)
        made.since_ms(0)
        made.until_ms(0)
        return made

    @property
    def narrow(self) -> bool:
        """Whether more than a state is said."""
        return any(value for name, value in asdict(self).items() if name != "state")

    def options(self, now_ms: int) -> dict[str, Any]:
        """As ``find_jobs`` takes them. Raises Refused."""
        said: dict[str, Any] = {name: getattr(self, name) for name in ("name", "id", "reason", "group", "worker")}
        said |= {"since": self.since_ms(now_ms), "until": self.until_ms(now_ms)}
        return {name: value for name, value in said.items() if value}

    def fields(self) -> dict[str, str]:
        """What was said, for a URL."""
        return {name: value for name, value in asdict(self).items() if value}

    def since_ms(self, now_ms: int) -> int | None:
        """The begin of the time that is meant. Raises Refused."""
        return _instant(self.since, now_ms)

    def until_ms(self, now_ms: int) -> int | None:
        """Its end. Raises Refused."""
        return _instant(self.until, now_ms)

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.fields().items())


def _instant(text: str, now_ms: int) -> int | None:
    if not text:
        return None
    try:
        return now_ms - interval_ms(text.removesuffix(" ago"))
    except ConfigurationError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as problem:
        raise Refused(
            400, f"{text!r} is no time: write 2026-11-26 or 2026-11-26T18:00, or how long ago, as 2 h"
        ) from problem
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return instant(moment, "the time")
