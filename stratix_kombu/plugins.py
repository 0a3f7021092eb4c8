"""Plugins: they create an application's objects from its settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stratix_kombu.config.embedded import STORES_AS_DRIVER
from stratix_kombu.config.settings import Settings, load_settings, needs_a_store
from stratix_kombu.drivers.contract import TransportDriver
from stratix_kombu.drivers.registry import create_driver, known_drivers, registered_drivers
from stratix_kombu.drivers.store import StoreDriver
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.queue.manager import QueueManager
from stratix_kombu.stores.registry import open_store

Source = str | Path | Mapping[str, Any] | None
Plugin = Callable[[Any, Mapping[str, Any]], QueueManager]


def schedule_plugin(application: Any, options: Mapping[str, Any]) -> None:
    """Makes ``app.schedule`` and ``app.distributed_lock``, which exist without it too. It has no options.

    >>> app.register(schedule_plugin)  # doctest: +SKIP
    """
    if options:
        raise ConfigurationError(f"schedule_plugin has no options, not {sorted(options)}")


def queue_plugin(
    source: Source, options: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> QueueManager:
    """Makes ``app.queue``; pass it to ``app.register``. The guide's settings reference lists its options.

    >>> app.register(queue_plugin, driver="redis", redis={"host": "localhost"})  # doctest: +SKIP
    """
    names = known_drivers()
    settings = load_settings(source, options, environment, names, registered_drivers())
    if settings.driver in STORES_AS_DRIVER:
        return _without_a_broker(settings)
    driver = create_driver(settings.driver, settings.driver_options, namespace=settings.namespace)
    if not settings.store and isinstance(driver, TransportDriver):
        settings = load_settings(source, options, environment, names)  # with the store of the driver that is replaced
        if not settings.store:
            raise needs_a_store(settings.driver)
    store = open_store(settings.store or "memory://", namespace=settings.namespace)
    return QueueManager(settings, driver, store)


def _without_a_broker(settings: Settings) -> QueueManager:
    store = open_store(settings.store, namespace=settings.namespace)
    if store.work is None:
        raise ConfigurationError(
            f"the store {store.address} needs a driver beside it: 'redis', 'rabbitmq', 'sqs' or a Kombu URL"
        )
    return QueueManager(settings, StoreDriver(store, settings.driver), store)
