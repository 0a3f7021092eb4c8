"""What is known of a Celery task and of its message without Celery and Kombu."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

TRACKED = "stratix"
"""The header of messages that name a job of the store; its value is the job's queue."""


def is_task(thing: Any) -> bool:
    """Whether it is a task of a Celery application."""
    return hasattr(thing, "apply_async") and hasattr(thing, "app") and isinstance(getattr(thing, "name", None), str)


def arguments_of(message: str) -> dict[str, Any] | None:
    """The arguments in a message: ``{"args": [...], "kwargs": {...}}``; None where they are not JSON."""
    found: Mapping[str, Any] = json.loads(message)
    if found["content-type"] != "application/json" or found["properties"].get("body_encoding"):
        return None
    try:
        args, kwargs, *_ = json.loads(found["body"])
    except (ValueError, TypeError):
        return None
    return {"args": args, "kwargs": kwargs}
