"""A store that can be the broker as well is named once: as the store, or as the driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratix_kombu.config.redis_options import SERVERS
from stratix_kombu.errors import ConfigurationError

STORE_AS_DRIVER = "sqlite"
POSTGRESQL = "postgresql"
"""The drivers of stores that need no other broker, called as the schemes of their URLs."""
STORES_AS_DRIVER = (STORE_AS_DRIVER, POSTGRESQL)
_SCHEMES = {STORE_AS_DRIVER: STORE_AS_DRIVER, POSTGRESQL: POSTGRESQL, "postgres": POSTGRESQL}
_EXAMPLES = {
    STORE_AS_DRIVER: "its file: store='sqlite:///jobs.db'",
    POSTGRESQL: "its database: store='postgresql://user@host/database'",
}


def name_once(merged: dict[str, Any], origin: dict[str, str]) -> None:
    """Complete the settings where they name only such a store, or it as the driver. Raises ConfigurationError."""
    driver, store = merged.get("driver"), merged.get("store")
    url = store.get("url") if isinstance(store, Mapping) else store
    if driver is None and _driver_of(url):
        merged["driver"], origin["driver"] = _driver_of(url), "the options of the store"
    elif driver is None and store is not None and _is_redis(url):
        # Permits in memory would reach the workers of this process only.
        merged["driver"], origin["driver"] = "redis", "the options of the store"
        merged["redis"] = store if isinstance(store, Mapping) else {"url": url}
    elif named := _driver_of(driver):
        if url not in (None, driver):
            shown = driver if named == STORE_AS_DRIVER else named  # a URL may hold a password
            raise ConfigurationError(
                f"'driver' and 'store' name two stores, and {shown!r} is both driver and store: name it once"
            )
        merged["driver"] = named
        if store is None:
            merged["store"], origin["store"] = driver, origin["driver"]
    elif driver in STORES_AS_DRIVER and store is None:
        given = merged.get(driver)
        if not isinstance(given, Mapping) or "url" not in given:
            raise ConfigurationError(f"the driver {driver!r} needs to know {_EXAMPLES[driver]}")
        merged["store"], origin["store"] = given, origin["driver"]


def _driver_of(url: Any) -> str | None:
    """The driver that the store of that URL is."""
    return _SCHEMES.get(url.partition(":")[0]) if isinstance(url, str) and ":" in url else None


def _is_redis(url: Any) -> bool:
    """Without a URL, a store is configured by the options of a Redis."""
    return url is None or (isinstance(url, str) and url.partition("://")[0] in (*SERVERS, "redis+cluster"))
