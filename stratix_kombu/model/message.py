"""The permit: a message of Celery protocol 2, so that Celery workers, Flower and Kombu tools understand it.

https://docs.celeryq.dev/en/stable/internals/protocol.html
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

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
    parsed = json.loads(message)
    return json.dumps({**parsed, "properties": {**parsed["properties"], GROUP: group}}, separators=(",", ":"))


MAX_MESSAGE_BYTES = 256 * 1024
"""Ours have less than one thousand. Of a longer one nothing is read."""


class OtherMessage(NamedTuple):
    """A message that is not a permit, in its parts as its sender made them: a Celery task, perhaps."""

    headers: Any
    properties: Any
    body: str | bytes
    content_type: str
    content_encoding: str


class Read(NamedTuple):
    """What is known of a received message."""

    job_id: str | None
    """The job that a permit names; None for a message that is not a permit."""
    problem: str
    """For such a message: what is wrong with it."""
    other: OtherMessage | None = None
    """Such a message itself, as far as it can be read."""


def read_envelope(text: str | bytes, tasks: bool = False) -> Read:
    """Read a message as Kombu's virtual transports write it (JSON, with ``headers``). Whatever it is: nothing is
    raised, and its body is not looked at. With ``tasks`` it may be of any size, and may be that of a task."""
    if len(text) > MAX_MESSAGE_BYTES and not tasks:
        return Read(None, f"it has {len(text)} bytes")
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError):
        return Read(None, f"it is no Kombu message: {text[:60]!r}")
    if not isinstance(envelope, dict) or "headers" not in envelope:
        return Read(None, f"it is no Kombu message: {text[:60]!r}")
    job_id, problem = read_headers(envelope["headers"])
    return Read(job_id, problem, other_message(envelope) if tasks and job_id is None else None)


def other_message(envelope: Mapping[str, Any]) -> OtherMessage | None:
    """The parts of such a message; None if it cannot be read."""
    properties, body = envelope.get("properties"), envelope.get("body")
    if not isinstance(properties, dict) or not isinstance(body, str):
        return None
    if properties.get("body_encoding") == "base64":
        try:
            body = base64.b64decode(body)
        except ValueError:
            return None
    kind, encoding = str(envelope.get("content-type")), str(envelope.get("content-encoding"))
    return OtherMessage(envelope["headers"], properties, body, kind, encoding)


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
