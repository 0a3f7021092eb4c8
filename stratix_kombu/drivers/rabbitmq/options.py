"""What the protocol says about values of options: it counts heartbeats in whole seconds, and has short names only."""

from __future__ import annotations

from typing import Any

from stratix_kombu.errors import ConfigurationError

LONGEST_NAME = 255
"""Bytes of a name in AMQP."""
LONGEST_PREFIX = 195
"""So that the name of any queue of ours, which has 60 bytes at most, can stand behind it."""
LONGEST_HEARTBEAT_S = 65_535
HIGHEST_PRIORITY = 255


def seconds_of(value: Any, rule: str) -> float:
    """A number of seconds, or of what the ``rule`` says. Raises ConfigurationError with the rule."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise ConfigurationError(f"rabbitmq: {rule}, not {value!r}")
    return seconds


def heartbeat_of(value: Any) -> float:
    """Seconds. The broker is told the whole ones: at half a second it would send none, and be taken for dead."""
    rule = f"'heartbeat' must be seconds, a whole number up to {LONGEST_HEARTBEAT_S}"
    seconds = seconds_of(value, rule)
    if seconds % 1 or seconds > LONGEST_HEARTBEAT_S:
        raise ConfigurationError(f"rabbitmq: {rule}, not {value!r}")
    return seconds


def name_of(value: Any, option: str, longest: int = LONGEST_NAME) -> str:
    """A name that the broker takes as it is. Raises ConfigurationError."""
    if not isinstance(value, str):
        raise ConfigurationError(f"rabbitmq: {option!r} must be a name, not {value!r}")
    if len(value.encode()) > longest or any(character < " " for character in value):
        raise ConfigurationError(
            f"rabbitmq: {option!r} must be at most {longest} bytes without control characters, not {value[:100]!r}"
        )
    return value


def prefix_of(value: Any) -> str:
    """The beginning of names of queues. Raises ConfigurationError."""
    prefix = name_of(value, "queue_name_prefix", LONGEST_PREFIX)
    if prefix.startswith("amq."):
        raise ConfigurationError("rabbitmq: 'queue_name_prefix' must not start with 'amq.', which the broker reserves")
    return prefix


def max_priority_of(value: Any) -> int:
    """0 for a queue without priorities. Raises ConfigurationError."""
    try:
        highest = int(value or 0)
    except (TypeError, ValueError):
        highest = -1
    if not 0 <= highest <= HIGHEST_PRIORITY:
        raise ConfigurationError(f"rabbitmq: 'max_priority' must be from 0 to {HIGHEST_PRIORITY}, not {value!r}")
    return highest
