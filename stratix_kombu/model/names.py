"""What names of queues, jobs and ids may look like: they become parts of keys and broker queues; and of options."""

from __future__ import annotations

import re

from stratix_kombu.errors import ConfigurationError

_QUEUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}\Z")
_ID = re.compile(r"[A-Za-z0-9_.:@/+=,-]{1,200}\Z")
_GROUP = re.compile(r"[!-~]{1,128}\Z")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}\Z")
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


def snake(name: str) -> str:
    """``removeOnComplete`` -> ``remove_on_complete``."""
    return _HUMP.sub(lambda hump: f"_{hump[1].lower()}", name)


def check_queue_name(name: object) -> str:
    """``name`` if a queue (or namespace) can be called so; ConfigurationError otherwise."""
    if not isinstance(name, str) or not _QUEUE.match(name):
        raise ConfigurationError(
            f"{name!r} cannot name a queue: use 1 to 60 letters, digits, '_', '.' or '-', "
            "not starting with '.' or '-'"
        )
    return name


def check_job_id(job_id: object) -> str:
    """``job_id`` if it can be one; ConfigurationError otherwise."""
    if not isinstance(job_id, str) or not _ID.match(job_id):
        raise ConfigurationError(
            f"{job_id!r} cannot be a job id: use 1 to 200 letters, digits or any of _ . : @ / + = , -"
        )
    return job_id


def check_group(group: object) -> str:
    """``group`` if jobs can be grouped under it; ConfigurationError otherwise."""
    if not isinstance(group, str) or not _GROUP.match(group):
        raise ConfigurationError(
            f"{group!r} cannot name a group: use 1 to 128 letters, digits or signs of ASCII, without spaces"
        )
    return group


def check_job_name(name: object) -> str:
    """``name`` if a job can be called so; ConfigurationError otherwise."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise ConfigurationError(
            f"{name!r} cannot name a job: use 1 to 200 characters without control characters"
        )
    return name


def check_event_name(name: object) -> str:
    """``name`` if an event of the user's own can be called so; ConfigurationError otherwise."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise ConfigurationError(
            f"{name!r} cannot name an event: use 1 to 200 characters without control characters"
        )
    return name
