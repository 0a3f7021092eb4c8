"""The log line that says which settings an application uses."""

from __future__ import annotations

import logging

from stratix_kombu.config.settings import Settings

logger = logging.getLogger("stratix_kombu")


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
