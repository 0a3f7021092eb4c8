"""The message of a Celery task, exactly as its application would have sent it, kept to be sent by the store.

``send_task`` gets a producer that keeps messages instead of publishing them: routing, serializers, signals and every
option keep their meaning, since Celery builds the message."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from kombu import Exchange, Producer, compression, messaging

from stratix_kombu.drivers.kombu import SET_BY_TRANSPORT
from stratix_kombu.drivers.rest import written
from stratix_kombu.errors import ConfigurationError, nearest
from stratix_kombu.model.message import in_group
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import NewJob
from stratix_kombu.model.tasks import TRACKED

COMPRESSIONS = ("gzip", "bzip2", "zlib", "lzma")
"""Names that Kombu always knows, for hints."""
_NOT_PROPERTIES = frozenset(
    {
        "exchange",
        "routing_key",
        "serializer",
        "compression",
        "retry",
        "retry_policy",
        "declare",
        "headers",
        "timeout",
        "confirm_timeout",
        "mandatory",
        "immediate",
        "auto_declare",
        *SET_BY_TRANSPORT,
    }
)


@dataclass(slots=True)
class Published:
    """One message that was kept instead of being published."""

    body: Any
    options: dict[str, Any]

    @property
    def headers(self) -> dict[str, Any]:
        headers: dict[str, Any] = self.options["headers"]
        return headers

    queues: Mapping[str, Any] = field(default_factory=dict)
    """The queues that its application knows, of Kombu."""

    @property
    def queue(self) -> str | None:
        """The queue it goes to; None if that is unknown, or several."""
        exchange, key = self.options.get("exchange"), self.options.get("routing_key") or ""
        if not exchange:
            return key or None
        known = {one.name: one for one in (*self.queues.values(), *(self.options.get("declare") or ()))}
        bound = [name for name, one in known.items() if _is_bound(one, getattr(exchange, "name", exchange), key)]
        return str(bound[0]) if len(bound) == 1 else None


def _is_bound(queue: Any, exchange: str, key: str) -> bool:
    """Whether a message to an exchange reaches a queue; of exchanges that send to one queue or some by the key."""
    bindings = [
        (queue.exchange, queue.routing_key),
        *((binding.exchange, binding.routing_key) for binding in queue.bindings),
    ]
    return any(
        one is not None and one.name == exchange and _matches(one.type, pattern or "", key) for one, pattern in bindings
    )


def _matches(kind: str, pattern: str, key: str) -> bool:
    if kind == "topic":
        words = {"*": r"[^.]+", "#": r".*"}
        return (
            re.fullmatch(r"\.".join(words.get(part, re.escape(part)) for part in pattern.split(".")), key) is not None
        )
    return kind == "direct" and pattern == key


def _is_as_it_was(producer: type[Producer]) -> bool:
    """Whether the publishing method has not been wrapped."""
    function = vars(producer)["publish"]
    return type(function) is FunctionType and function.__code__.co_filename == messaging.__file__


class KeepingProducer(Producer):
    """Keeps the first message it is given and sends the others: those are events about it."""

    exchange = Exchange("")
    auto_declare = False

    def __init__(
        self, connection: Any, later: Callable[..., Any] | None = None, queues: Mapping[str, Any] | None = None
    ) -> None:
        self._connection = connection
        self._queues = queues or {}
        self.kept: Published | None = None
        self._later = later

    @property
    def connection(self) -> Any:
        return self._connection

    def publish(self, body: Any, **options: Any) -> Any:
        if self.kept is not None:
            return self._later(body, **options) if self._later else None
        self.kept = Published(body, options, self._queues)
        if not _is_as_it_was(Producer):
            # Publishing is instrumented: Sentry makes a span of it, and may add headers.
            options["headers"] = options.get("headers") or {}
            super().publish(body, **{**options, "retry": False})
        return None

    def _prepare(self, body: Any, *rest: Any) -> tuple[Any, None, None]:
        """Nothing is serialized here. The last argument are the headers as they would be sent: who has added some may
        have made a copy (New Relic does)."""
        if self.kept is not None:
            self.kept.options["headers"] = rest[-1]
        return body, None, None

    def _publish(self, *_: Any, **__: Any) -> None:
        """Nothing is sent here."""

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
    content_type, encoding, payload = written(published.body, options.get("serializer") or "json")
    headers = dict(published.headers)
    if options.get("compression"):
        payload, headers["compression"] = _compressed(payload, options["compression"])
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
    properties["delivery_tag"] = new_request()  # the last one: see ``NewJob.message``
    message = {
        "body": payload,
        "content-type": content_type,
        "content-encoding": encoding,
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(message, default=str, separators=(",", ":"))


def _compressed(payload: Any, name: str) -> tuple[bytes, str]:
    """The payload, and how Kombu calls what has compressed it. Raises ConfigurationError for an unknown name."""
    try:
        compression.get_encoder(name)
    except KeyError:
        known = (*COMPRESSIONS, *compression.encoders())
        raise ConfigurationError(f"'compression': Kombu knows no {name!r}{nearest(name, known)}") from None
    return compression.compress(payload, name)  # type: ignore[no-any-return]


def message_of(task: Any, data: Any, new: NewJob, engine: Any) -> tuple[str, bool]:
    """The message that runs a Celery task as this job with these arguments, and whether its workers will claim the job.

    A mapping gives keyword arguments, a list positional ones. Workers with the bridge on the same engine claim; for
    others the message gets an id of its own, so that they take it as any other task. It belongs to the job's group
    where messages can have one.
    """
    args, kwargs = _arguments(task, data)
    app = task.app
    bridge = getattr(app, "stratix_bridge", None)
    tracked = bridge is not None and bridge.engine is engine
    keeping = KeepingProducer(app.connection_for_write())
    # The class's own: an instance with the bridge would add a job by itself.
    type(app).send_task(
        app,
        task.name,
        args,
        kwargs,
        task_type=task,
        producer=keeping,
        add_to_parent=False,
        task_id=new.id if tracked else str(uuid.uuid4()),
    )
    assert keeping.kept is not None
    broker_queue = engine.driver.broker_queue(new.queue)
    message = envelope(keeping.kept, new.queue, broker_queue, tracked)
    return in_group(message, new.group) if new.group and engine.driver.capabilities.groups else message, tracked


def _arguments(task: Any, data: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if data is None:
        return (), {}
    if isinstance(data, Mapping):
        return (), dict(data)
    if isinstance(data, (list, tuple)):
        return tuple(data), {}
    raise ConfigurationError(
        f"the data for task {task.name!r} must be a mapping of its keyword arguments or a list of its positional ones, "
        f"not {data!r}"
    )
