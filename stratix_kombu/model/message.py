"""The permit: a message of Celery protocol 2, so that Celery workers, Flower and Kombu tools understand it.

https://docs.celeryq.dev/en/stable/internals/protocol.html
"""

from __future__ import annotations

import json
from typing import Any

from stratix_kombu.model.names import is_job_id

TASK = "stratix.job"
BODY = "[[],{},{}]"
"""The same for every permit: a worker gets the data with the job."""
CONTENT_TYPE = "application/json"
CONTENT_ENCODING = "utf-8"
GROUP = "MessageGroupId"
"""The property of a message that names its group, as Kombu calls it."""

FIXED_HEADERS: dict[str, Any] = {"lang": "py", "task": TASK}
"""What all permits have; of what they leave out Celery has defaults."""


def message_headers(job_id: str, name: str) -> dict[str, Any]:
    """The headers of the permit for one job. That it is for this one is for those who look at the broker's queue."""
    return {**FIXED_HEADERS, "id": job_id, "shadow": f"{TASK} ({name})" if name else None}


def message_envelope(job_id: str, name: str, broker_queue: str, **properties: Any) -> dict[str, Any]:
    """The whole message for one job, as Kombu's virtual transports write it; without a delivery tag."""
    return {
        "body": BODY,
        "content-encoding": CONTENT_ENCODING,
        "content-type": CONTENT_TYPE,
        "headers": message_headers(job_id, name),
        "properties": {
            "correlation_id": job_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": broker_queue},
            "priority": 0,
            "body_encoding": None,
            **properties,
        },
    }


def is_task_message(message: str) -> bool:
    """Whether a job's own message is that of a Celery task, and not a permit."""
    return bool(message) and json.loads(message)["headers"].get("task") != TASK


def in_group(message: str, group: str) -> str:
    """A message, as JSON, that belongs to a group."""
    found = json.loads(message)
    return json.dumps({**found, "properties": {**found["properties"], GROUP: group}}, separators=(",", ":"))


MAX_MESSAGE_BYTES = 256 * 1024
"""Ours have less than one thousand. Of a longer one nothing is read."""


def read_envelope(text: str | bytes) -> tuple[str | None, str]:
    """The id of the job that a message names, as Kombu's virtual transports write it (JSON, with ``headers``); or None
    and what is wrong with it. Whatever it is: nothing is raised, and its body is not looked at."""
    if len(text) > MAX_MESSAGE_BYTES:
        return None, f"it has {len(text)} bytes"
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError):
        return None, f"it is no Kombu message: {text[:60]!r}"
    if not isinstance(envelope, dict) or "headers" not in envelope:
        return None, f"it is no Kombu message: {text[:60]!r}"
    return read_headers(envelope["headers"])


def read_headers(headers: Any) -> tuple[str | None, str]:
    """The id of the job that a message with these headers names; or None and what is wrong with it."""
    job_id = job_id_of(headers)
    if job_id is not None:
        return job_id, ""
    if not isinstance(headers, dict):
        return None, "it has no headers"
    task = headers.get("task")
    if not isinstance(task, str):
        return None, f"its task is a {type(task).__name__}"
    return None, "what it names cannot be a job id" if task == TASK else f"its task is {task[:100]!r}"


def job_id_of(headers: Any) -> str | None:
    """The id of the job that a received message names; None if it is no message of ours."""
    if not isinstance(headers, dict) or headers.get("task") != TASK:
        return None
    job_id = headers.get("id")
    return job_id if is_job_id(job_id) else None
