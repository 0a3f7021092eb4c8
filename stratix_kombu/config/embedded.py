"""A store that can be the broker as well is named once: as the store, or as the driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratix_kombu.config.redis_options import SERVERS
from stratix_kombu.errors import ConfigurationError

STORE_AS_DRIVER = "sqlite"
"""The driver of stores that need no other broker, called as the scheme of their URL."""


def name_once(merged: dict[str, Any], origin: dict[str, str]) -> None:
    """Complete the settings where they name only such a store, or it as the driver. Raises ConfigurationError."""
    driver, store = merged.get("driver"), merged.get("store")
    url = store.get("url") if isinstance(store, Mapping) else store
    if driver is None and isinstance(url, str) and url.startswith(f"{STORE_AS_DRIVER}:"):
        merged["driver"], origin["driver"] = STORE_AS_DRIVER, "the options of the store"
    elif driver is None and store is not None and _is_redis(url):
        # Permits in memory would reach the workers of this process only.
        merged["driver"], origin["driver"] = "redis", "the options of the store"
        merged["redis"] = store if isinstance(store, Mapping) else {"url": url}
    elif isinstance(driver, str) and driver.startswith(f"{STORE_AS_DRIVER}:"):
        if url not in (None, driver):
            raise ConfigurationError(
                f"'driver' and 'store' name two stores, and {driver!r} is both driver and store: name it once"
            )
        merged["driver"] = STORE_AS_DRIVER
        if store is None:
            merged["store"], origin["store"] = driver, origin["driver"]
    elif driver == STORE_AS_DRIVER and store is None:
        given = merged.get(STORE_AS_DRIVER)
        if not isinstance(given, Mapping) or "url" not in given:
            raise ConfigurationError("the driver 'sqlite' needs to know its file: store='sqlite:///jobs.db'")
        merged["store"], origin["store"] = given, origin["driver"]


def _is_redis(url: Any) -> bool:
    """Without a URL, a store is configured by the options of a Redis."""
    return url is None or (isinstance(url, str) and url.partition("://")[0] in (*SERVERS, "redis+cluster"))
