"""What is known of a Celery task and of its message without Celery and Kombu."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

TRACKED = "stratix"
"""The header of messages that name a job of the store; its value is the job's queue."""
AGAIN = "stratix_again"
"""The header of messages that are sent a second time, although they have been taken; its value is for which attempt
(see ``attempt_in``): what follows a task may have the headers of its message."""
BY_NAME = "stratix_by_name"
"""Header of the message of a task that its producer knows by its name alone: whether it may run again after its worker
was lost is for those to say who have it."""


def is_task(thing: Any) -> bool:
    """Whether it is a task of a Celery application."""
    return hasattr(thing, "apply_async") and hasattr(thing, "app") and isinstance(getattr(thing, "name", None), str)


def attempt_in(headers: Mapping[str, Any]) -> list[int]:
    """Which of the attempts under one id a message is for, in their order: replacements count, and retries of each."""
    return [headers.get("replaced_task_nesting") or 0, headers.get("retries") or 0]


def delivered_again(message: str) -> str:
    """The message of a task that has begun before, and whose message was acknowledged: to the broker it is a new one,
    which says nothing of that."""
    parsed = json.loads(message)
    headers = parsed["headers"]
    return json.dumps({**parsed, "headers": {**headers, AGAIN: attempt_in(headers)}})


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
