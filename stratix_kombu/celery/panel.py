"""What a worker reports about delayed tasks: ``inspect scheduled`` and ``query_task`` know those that wait in the
store, and the event of a received task contains the time at which it should run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from celery.worker.control import Panel
from kombu.utils.functional import maybe_list

from stratix_kombu.celery.bridge import Bridge, bridge_of
from stratix_kombu.celery.publish import DUE
from stratix_kombu.celery.requests import SERIALIZER, serializer_of
from stratix_kombu.drivers.rest import JSON, with_rest
from stratix_kombu.errors import Unavailable
from stratix_kombu.model.instant import date_of
from stratix_kombu.model.message import is_task_message
from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.model.tasks import TRACKED, arguments_of

WATCHED = "stratix_watched"
"""In a request: its worker sends events about tasks, so that many hear at once when one has succeeded."""
AT_MOST = 100
"""Tasks of each queue that a worker names: those that are due first."""
_COMMANDS = ("scheduled", "dump_schedule")

logger = logging.getLogger("stratix_kombu.celery")


def answer_for_the_store() -> None:
    """Have workers of applications with the bridge name its delayed tasks, too; once a process."""
    original = Panel.data["scheduled"]
    if hasattr(original, "stratix_original"):
        return

    def scheduled(state: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """List of currently scheduled ETA/countdown tasks."""
        found = list(original(state, **kwargs))
        bridge = bridge_of(state.app)
        return found if bridge is None else [*found, *_delayed(bridge, state)]

    scheduled.stratix_original = original  # type: ignore[attr-defined]
    for name in _COMMANDS:
        Panel.data[name] = scheduled
    query = Panel.data["query_task"]

    def query_task(state: Any, ids: Any, **kwargs: Any) -> dict[str, Any]:
        """Query for task information by id."""
        found = query(state, ids, **kwargs)
        bridge, missing = bridge_of(state.app), [one for one in maybe_list(ids) or () if one not in found]
        return found if bridge is None else {**found, **_delayed_of(bridge, state, missing)}

    Panel.data["query_task"] = query_task


class _Eventer:
    """The dispatcher of a worker's events. A message that is past its time does not have that where Celery looks for
    it, see ``DUE``; listeners need it all the same: it has not waited in the queue for that long."""

    def __init__(self, eventer: Any) -> None:
        self._eventer = eventer
        self.due: str | None = None

    def send(self, type: str, **fields: Any) -> Any:
        if type == "task-received":
            fields["eta"] = fields.get("eta") or self.due
        return self._eventer.send(type, **fields)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._eventer, name)


def telling(start: Callable[..., Any], app: Any, consumer: Any, **options: Any) -> Any:
    """The handler of messages that ``start`` makes for a task; its events say when the task was to run."""
    if not consumer.event_dispatcher:
        return start(app, consumer, **options)
    real = consumer.event_dispatcher
    consumer.event_dispatcher = eventer = _Eventer(real)
    try:
        handler = start(app, consumer, **options)
    finally:
        consumer.event_dispatcher = real

    def told(message: Any, *rest: Any) -> Any:
        headers = message.headers or {}
        eventer.due = headers.get(DUE)
        if headers.get(TRACKED) and real.enabled and (not real.groups or "task" in real.groups):
            headers[WATCHED] = True
        if TRACKED not in headers and (name := serializer_of(message.content_type)):
            headers[SERIALIZER] = name
        whole = message.body  # Kombu may have to give it back to the broker
        if headers.get(TRACKED) and (message.content_type, message.content_encoding) == JSON:
            message.body = with_rest(whole)
        try:
            return handler(message, *rest)
        finally:
            message.body = whole

    return told


def _delayed(bridge: Bridge, state: Any) -> Iterator[dict[str, Any]]:
    for queue in state.app.amqp.queues.consume_from:
        try:
            records = bridge.engine.store.queries.find(queue, [State.DELAYED], 0, AT_MOST)
        except Unavailable as problem:
            bridge.engine.report(queue, problem, "inspect_failed")
            return
        yield from (_told(record, state.hostname) for record in records if is_task_message(record.message))


def _delayed_of(bridge: Bridge, state: Any, ids: Sequence[str]) -> dict[str, Any]:
    """Of these tasks, those that wait for their time in a queue of this worker's: as ``query_task`` describes them."""
    try:
        records = bridge.engine.store.queries.get([task_job_id(one) for one in ids])
    except Unavailable as problem:
        bridge.engine.report("", problem, "inspect_failed")
        return {}
    return {
        task_id: ("scheduled", _told(record, state.hostname)["request"])
        for task_id, record in zip(ids, records, strict=True)
        if record is not None
        and record.state is State.DELAYED
        and record.queue in state.app.amqp.queues.consume_from
        and is_task_message(record.message)
    }


def _told(record: JobRecord, hostname: str) -> dict[str, Any]:
    """As Celery describes one."""
    headers = json.loads(record.message)["headers"]
    given = arguments_of(record.message) or {"args": [], "kwargs": {}}
    info = {"exchange": "", "routing_key": record.queue, "priority": record.priority, "redelivered": False}
    request = {
        "id": headers.get("id") or record.id,
        "name": record.name,
        "type": record.name,
        **given,
        "hostname": hostname,
        "time_start": None,
        "acknowledged": False,
        "worker_pid": None,
        "delivery_info": info,
    }
    due = headers.get(DUE)  # to the microsecond
    return {"eta": due or date_of(record.due_ms).isoformat(), "priority": 6, "request": request}
