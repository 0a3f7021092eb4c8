"""The log lines about the settings that an application uses."""

from __future__ import annotations

import logging
from collections.abc import Collection
from difflib import get_close_matches

from stratix_kombu.config.settings import Settings

logger = logging.getLogger("stratix_kombu")

NEAR = 0.8
"""How similar a misspelt name is; others that are alike, such as ``orders`` and ``order-events``, are less so."""


class SettingsLine:
    """Logged once, as soon as the log takes it: modules are imported before logging is configured."""

    def __init__(self) -> None:
        self._logged = False

    def log(self, settings: Settings, servers: str) -> None:
        """Log the line, if that was not done. ``servers`` are driver and store, without credentials."""
        level = logging.WARNING if settings.is_memory_by_default else logging.INFO
        if self._logged or not logger.isEnabledFor(level):
            return
        self._logged = True
        line = f"settings: {settings.sources or 'none were found'}; {servers}, namespace {settings.namespace!r}"
        if settings.is_memory_by_default:
            line += (
                ". No driver is configured, so messages are kept in the memory of this process, and "
                "other processes do not see them: set redis={...} for Redis, or driver='memory' if that "
                "is intended"
            )
        logger.log(level, "%s", line, extra={"action": "settings"})


def say_what_is_misspelt(settings: Settings, made: Collection[str]) -> None:
    """Log which options are those of a queue that this process has not made, while it has one of nearly that name, of
    which nothing is said. Other programs may share the settings, so it is no error."""
    others = [name for name in made if name not in settings.queues]
    for name in settings.queues:
        if name not in made and (near := get_close_matches(name, others, n=1, cutoff=NEAR)):
            logger.warning(
                "settings: 'queues' has options for %r, a queue that this process does not have; did you mean %r?",
                name,
                near[0],
                extra={"action": "unknown_queue", "queue": name},
            )
