"""The message of a Celery task, exactly as its application would have sent it, kept to be sent by the store.

``send_task`` is given a producer that keeps what it is told to publish: routing, serializers, signals and every option
keep their meaning, for it is Celery that builds the message.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kombu import Producer
from kombu.compression import compress
from kombu.serialization import dumps

from stratix_kombu.drivers.kombu import SET_BY_TRANSPORT

TRACKED = "stratix"
"""The header of messages that name a job of the store; its value is the job's queue."""
_NOT_PROPERTIES = frozenset(
    {"exchange", "routing_key", "serializer", "compression", "retry", "retry_policy", "declare", "headers", "timeout",
     "confirm_timeout", "mandatory", "immediate", "auto_declare", *SET_BY_TRANSPORT}
)  # fmt: skip


@dataclass(slots=True)
class Published:
    """One message that was to be published."""

    body: Any
    options: dict[str, Any]

    @property
    def headers(self) -> dict[str, Any]:
        headers: dict[str, Any] = self.options["headers"]
        return headers

    @property
    def queue(self) -> str | None:
        """The queue it goes to; None if an exchange decides."""
        declare: list[Any] = list(self.options.get("declare") or ())
        if not self.options.get("exchange"):
            return self.options.get("routing_key") or None
        entity = declare[0] if len(declare) == 1 else None
        if entity is not None and entity.exchange.type in ("direct", "topic"):
            return str(entity.name)
        return None


class KeepingProducer(Producer):
    """Keeps the first message it is given and sends the others: those are events about it."""

    def __init__(self, connection: Any, later: Callable[..., Any] | None = None) -> None:
        self._connection = connection
        self.kept: Published | None = None
        self._later = later

    @property
    def connection(self) -> Any:
        return self._connection

    def publish(self, body: Any, **options: Any) -> Any:
        if self.kept is None:
            self.kept = Published(body, options)
            return None
        return self._later(body, **options) if self._later else None

    def revive(self, channel: Any) -> None:
        """There is nothing to connect again."""

    def release(self) -> None:
        """There is nothing to give back."""

    def __enter__(self) -> KeepingProducer:
        return self

    def __exit__(self, *problem: object) -> None:
        self.release()


def envelope(published: Published, queue: str, broker_queue: str, tracked: bool = True) -> str:
    """The message as JSON text, as Kombu's virtual transports write it: see ``NewJob.message``."""
    options = published.options
    content_type, encoding, payload = dumps(published.body, options.get("serializer") or "json")
    headers = dict(published.headers)
    if options.get("compression"):
        payload, headers["compression"] = compress(payload, options["compression"])
        encoding = "binary"
    if tracked:
        headers[TRACKED] = queue
    properties = {key: value for key, value in options.items() if key not in _NOT_PROPERTIES and value is not None}
    properties["delivery_info"] = {"exchange": "", "routing_key": broker_queue}
    properties["body_encoding"] = None
    if isinstance(payload, bytes):
        if encoding == "binary":
            payload, properties["body_encoding"] = base64.b64encode(payload).decode(), "base64"
        else:
            payload = payload.decode(encoding)
    properties.setdefault("priority", 0)
    properties.setdefault("delivery_mode", 2)
    message = {
        "body": payload, "content-type": content_type, "content-encoding": encoding, "headers": headers,
        "properties": properties,
    }  # fmt: skip
    return json.dumps(message, default=str, separators=(",", ":"))


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
