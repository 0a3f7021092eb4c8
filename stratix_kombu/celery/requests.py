"""The request of a task, made of its message in the way of Celery's worker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from celery.worker.request import Request
from celery.worker.state import revoked, revoked_stamps
from kombu import Message
from kombu.compression import decompress
from kombu.exceptions import EncodeError, KombuError
from kombu.serialization import loads, registry
from kombu.utils.functional import maybe_list

from stratix_kombu.celery.compat import CELERY_HEADERS
from stratix_kombu.celery.publish import DUE
from stratix_kombu.drivers.native import Published, envelope
from stratix_kombu.drivers.rest import JSON, with_rest
from stratix_kombu.model.message import OtherMessage
from stratix_kombu.model.tasks import TRACKED

HEADERS = (
    *("lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id"),
    *("parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers"),
    "stamps",
)
"""Those of a message of protocol 2."""
_NOT_KEPT = frozenset({"application_headers", "content_type", "content_encoding"})
"""Properties that RabbitMQ's client adds to the others."""
SERIALIZER = "stratix_serializer"
"""In a request whose producer does not know of the store: what its message was written with."""
UNREADABLE = (KombuError, ValueError, TypeError, KeyError, LookupError)
"""What a body may raise that cannot be read."""


def request_of(message: OtherMessage, accept: Collection[str], hostname: str) -> dict[str, Any]:
    """The request of a message for the worker of that name; ``accept``: the content types that are read. Raises one of
    ``UNREADABLE``."""
    properties, body = message.properties, message.body
    info = properties.get("delivery_info") or {}
    if message.headers.get("compression"):
        body = decompress(body, message.headers["compression"])
    if message.headers.get(TRACKED) and (message.content_type, message.content_encoding) == JSON:
        body = with_rest(body)
    args, kwargs, embed = loads(body, message.content_type, message.content_encoding, accept=accept)
    own = {key: value for key, value in message.headers.items() if key not in CELERY_HEADERS}
    request = {
        "headers": own or None,  # a Context looks for them in a slower way
        **message.headers,
        "properties": properties,
        "reply_to": properties.get("reply_to"),
        "correlation_id": properties.get("correlation_id"),
        "delivery_info": {
            "exchange": info.get("exchange"),
            "routing_key": info.get("routing_key"),
            "priority": properties.get("priority"),
            "redelivered": bool(info.get("redelivered")),
        },
        "hostname": hostname,
        "is_eager": False,
        "args": args,
        "kwargs": kwargs,
        **(embed or {}),
    }
    if TRACKED not in message.headers:
        request[SERIALIZER] = serializer_of(message.content_type)
    return request


def serializer_of(content_type: str | None) -> str | None:
    """The name under which what has written a message is registered."""
    name = registry.type_to_name.get(content_type)
    return None if name is None else str(name)


def published_of(request: Any) -> Published:
    """The message of a request, as it was published."""
    known = vars(request)
    headers = {name: known[name] for name in (*HEADERS, *(request.headers or ())) if name in known}
    embed = {name: getattr(request, name) for name in ("callbacks", "errbacks", "chain", "chord")}
    kept = {key: value for key, value in (request.properties or {}).items() if key not in _NOT_KEPT}
    return Published((request.args, request.kwargs, embed), {**kept, "headers": headers})


def message_of(message: OtherMessage, accept: Collection[str]) -> Message:
    """The message as Celery's worker has it."""
    body, properties = message.body, message.properties
    if message.headers.get(TRACKED) and (message.content_type, message.content_encoding) == JSON:
        body = with_rest(body)
    return Message(
        body.encode() if isinstance(body, str) else body,
        delivery_tag=properties.get("delivery_tag"),
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        delivery_info=properties.get("delivery_info"),
        properties=properties,
        headers=message.headers,
        accept=accept,
    )


def received_request(message: OtherMessage, task: Any, accept: Collection[str], hostname: str) -> Request:
    """What Celery's worker makes of a message that it has received, for those who look at it."""
    headers = {**message.headers, "eta": message.headers.get("eta") or message.headers.get(DUE)}
    return Request(message_of(message, accept), app=task.app, task=task, hostname=hostname, headers=headers)


def without_chain(request: Any, queue: str) -> str:
    """The message of a request as if nothing came behind its task; '' if its arguments cannot be written any more."""
    published = published_of(request)
    published.body[2]["chain"] = None
    if DUE in vars(request):
        published.headers["eta"] = None
    try:
        return envelope(published, queue, queue)
    except EncodeError:
        return ""


def may_be_dropped(request: Mapping[str, Any]) -> bool:
    """Whether the task expires at some time, or this process has been told to revoke any: a quick look."""
    return bool(request.get("expires") or revoked or revoked_stamps)


def is_revoked(request: Mapping[str, Any]) -> bool:
    """Whether this process has been told to revoke the task, by its id or by one of its stamps."""
    if request["id"] in revoked:
        return True
    stamps = request.get("stamps") or {}
    for stamp in request.get("stamped_headers") or ():
        told = maybe_list(revoked_stamps.get(stamp)) or ()
        if any(one in told for one in maybe_list(stamps.get(stamp)) or ()):
            return True
    return False
