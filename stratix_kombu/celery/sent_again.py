"""Messages of producers without the bridge, and the jobs that send them again when it is time.

Such a message was published: the project's ``apply_async``, its signals and its routes have had their part. So what is
sent again is made of the message alone, and goes to the queue that it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stratix_kombu.celery.plain import adopted, forwarding
from stratix_kombu.celery.publish import DUE
from stratix_kombu.celery.requests import SERIALIZER, published_of
from stratix_kombu.drivers.native import Published
from stratix_kombu.model.record import NewJob

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge


def source_of(app: Any, request: Any) -> str:
    """The queue that a message came from; '' if its exchange gives a copy of it to several, or to one that is not
    known here."""
    info = request.delivery_info or {}
    options = {"exchange": info.get("exchange"), "routing_key": info.get("routing_key")}
    return Published(None, options, app.amqp.queues).queue or ""


def sent_again(bridge: Bridge, request: Any, queue: str) -> NewJob:
    """The job that sends a request's message again to a queue, when it is time. Raises what making a job may raise."""
    return forwarding(*_made_again(bridge, request, queue))


def as_taken(bridge: Bridge, request: Any, queue: str) -> NewJob:
    """The job of a request's message, which has come from a queue. Raises the same."""
    return adopted(*_made_again(bridge, request, queue))


def _made_again(bridge: Bridge, request: Any, queue: str) -> tuple[NewJob, Published]:
    published = published_of(request)
    published.options.update(exchange="", routing_key=queue, serializer=request.get(SERIALIZER))
    published.headers.pop(SERIALIZER, None)
    if request.eta:
        published.headers.update({"eta": None, DUE: bridge.publisher.due(None, request.eta)})
    return bridge.publisher.new_job(published, [], None, request.eta), published
