"""Drivers by name; others add themselves by ``register_queue_driver`` or the entry point group
``stratix_kombu.drivers``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from stratix_kombu.drivers.contract import QueueDriver
from stratix_kombu.errors import ConfigurationError, UnknownDriver
from stratix_kombu.model.names import check_job_name

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
    "redis": "redis",
    "rediss": "redis",
    "sentinel": "redis",
    "redis+cluster": "redis",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "pyamqp": "rabbitmq",
    "sqs": "sqs",
}
_registered: dict[str, Factory] = {}


def register_queue_driver(name: str, factory: Factory) -> None:
    """Make a driver known by name; ``factory`` is called with the driver's own options.

    >>> register_queue_driver("custom", lambda options: MyDriver(options))  # doctest: +SKIP
    """
    if not callable(factory):
        raise ConfigurationError(f"the factory of driver {name!r} must be callable, not {factory!r}")
    _registered[check_job_name(name)] = factory


def known_drivers() -> list[str]:
    """Names a configuration may use, aliases included."""
    entries = (entry.name for entry in entry_points(group="stratix_kombu.drivers"))
    return sorted({*_registered, *_BUILT_IN, *ALIASES, *entries})


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
        return _registered[name](dict(options))
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        return cast(QueueDriver, getattr(import_module(module), attribute)(dict(options), namespace=namespace))
    for entry in entry_points(group="stratix_kombu.drivers"):
        if entry.name == name:
            return cast(QueueDriver, entry.load()(dict(options)))
    raise UnknownDriver(name, known_drivers())
