"""Drivers of the user's own, as the document has them: what they must have, and their queues at the end.

Options reach them by one rule, whatever they were written in (camelCase, a file, the environment): their keys are in
snake_case at every level, so ``{"aws": {"accessKeyId": ...}}`` is read as ``options["aws"]["access_key_id"]``. So are
the options of ``create_queue``. Keys that are no camelCase (``X-Api-Key``) stay as they are.
"""

from __future__ import annotations

import inspect
import logging
from typing import Any

from stratix_kombu.drivers.contract import QueueDriver, Receiver, TransportDriver
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.awaiting import check_plain, is_awaitable

logger = logging.getLogger("stratix_kombu")


def check_driver(driver: Any, name: str) -> QueueDriver:
    """A driver that a factory has made. Raises ConfigurationError if it lacks a method, or has one that is `async def`
    where nothing awaits it: any of a ``TransportDriver``, and ``get_name`` of every one."""
    if is_awaitable(driver):
        if inspect.iscoroutine(driver):
            driver.close()
        raise ConfigurationError(f"the factory of driver {name!r} must be a plain function: connect in its `init`")
    if driver is None:
        raise ConfigurationError(f"driver {name!r}: the factory has returned None, and not the driver")
    for method in sorted(QueueDriver.__abstractmethods__):
        if not callable(getattr(driver, method, None)):
            raise ConfigurationError(f"driver {name!r}: {type(driver).__name__} has no {method}(), see QueueDriver")
    carries = isinstance(driver, TransportDriver)
    for method in sorted(TransportDriver.__abstractmethods__ | {"inline_queue"}) if carries else ["get_name"]:
        check_plain(getattr(driver, method), f"driver {name!r}: {method}")
    made: QueueDriver = driver
    return made


def check_receiver(receiver: Receiver, queue: str) -> Receiver:
    """Raises ConfigurationError if one of its methods is `async def`."""
    for method in sorted(Receiver.__abstractmethods__ | {"refuse", "interrupt", "tend"}):
        check_plain(getattr(receiver, method, None), f"the receiver of queue {queue!r}: {method}")
    return receiver


def check_instance(queue: Any, name: str, driver: str) -> None:
    """Say that a queue which a driver has made cannot be closed."""
    if not callable(getattr(queue, "close", None)):
        logger.warning(
            "queue %r: what the driver %r has made has no close(), so it is not closed with the application",
            name,
            driver,
            extra={"action": "no_close"},
        )


def close_instance(queue: Any, timeout: float | None) -> Any:
    """Close such a queue, with the time it has if its ``close`` takes one; what it returns, which may be to be
    awaited."""
    close = getattr(queue, "close", None)
    if not callable(close):
        return None
    try:
        inspect.signature(close).bind(timeout)
    except TypeError:
        return close()
    return close(timeout)
