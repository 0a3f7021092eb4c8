"""Drivers by name; others add themselves by ``register_queue_driver`` or the entry point group
``stratix_kombu.drivers``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from stratix_kombu.config.embedded import STORES_AS_DRIVER
from stratix_kombu.config.redis_options import SERVERS
from stratix_kombu.drivers.contract import QueueDriver
from stratix_kombu.drivers.own import check_driver
from stratix_kombu.errors import ConfigurationError, UnknownDriver
from stratix_kombu.model.awaiting import check_plain
from stratix_kombu.model.given import snake_everywhere
from stratix_kombu.model.names import check_job_name

logger = logging.getLogger("stratix_kombu")

Factory = Callable[[dict[str, Any]], QueueDriver]

ALIASES = {"bullmq": "redis", "amqp": "rabbitmq"}
_BUILT_IN = {
    "memory": "stratix_kombu.drivers.memory:MemoryDriver",
    "redis": "stratix_kombu.drivers.redis:RedisDriver",
    "rabbitmq": "stratix_kombu.drivers.rabbitmq:RabbitMQDriver",
    "sqs": "stratix_kombu.drivers.sqs:SQSDriver",
    "kombu": "stratix_kombu.drivers.kombu:KombuDriver",
}
_SCHEMES = {
    "memory": "memory",
    **dict.fromkeys((*SERVERS, "redis+cluster"), "redis"),
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "pyamqp": "rabbitmq",
    "sqs": "sqs",
}
_registered: dict[str, Factory] = {}


def register_queue_driver(name: str, factory: Factory) -> None:
    """Make a driver known by name; ``factory``, a plain function, is called with the driver's own options, whose keys
    are in snake_case at every level. One of the name of a built-in driver replaces that, which is logged. Raises
    ConfigurationError.

    >>> register_queue_driver("custom", lambda options: MyDriver(options))  # doctest: +SKIP
    """
    if not callable(factory):
        raise ConfigurationError(f"the factory of driver {name!r} must be callable, not {factory!r}")
    check_plain(factory, f"the factory of driver {name!r}")
    check_job_name(name, "cannot name a driver")
    if name in ALIASES:
        raise ConfigurationError(f"{name!r} is another name of {ALIASES[name]!r}: register the driver under that")
    if name in _BUILT_IN and name not in _registered:
        logger.warning(
            "the built-in driver %r is replaced by a driver of this program", name, extra={"action": "driver_replaced"}
        )
    _registered[name] = factory


def registered_drivers() -> list[str]:
    """Names that ``register_queue_driver`` was given."""
    return list(_registered)


def known_drivers() -> list[str]:
    """Names a configuration may use, aliases included."""
    entries = (entry.name for entry in entry_points(group="stratix_kombu.drivers"))
    return sorted({*_registered, *_BUILT_IN, *ALIASES, *entries, *STORES_AS_DRIVER})


def create_driver(name: str, options: Mapping[str, Any], *, namespace: str) -> QueueDriver:
    """The driver of that name, or for a Kombu URL, with its options.

    Raises UnknownDriver, MissingExtra, and ConfigurationError for options it does not know.
    """
    scheme, is_url, _ = name.partition("://")
    if is_url:
        if scheme not in _SCHEMES:
            from stratix_kombu.drivers.kombu import KombuDriver

            return KombuDriver({"url": name, **options}, namespace=namespace)
        name, options = _SCHEMES[scheme], {"url": name, **options}
    name = ALIASES.get(name, name)
    if name in _registered:
        return check_driver(_registered[name](snake_everywhere(options)), name)
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        return cast(QueueDriver, getattr(import_module(module), attribute)(dict(options), namespace=namespace))
    for entry in entry_points(group="stratix_kombu.drivers"):
        if entry.name == name:
            return check_driver(entry.load()(snake_everywhere(options)), name)
    raise UnknownDriver(name, known_drivers())
