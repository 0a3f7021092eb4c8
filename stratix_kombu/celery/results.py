"""Reading results of Celery tasks from job records."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from celery import exceptions, states
from celery.backends.base import BaseBackend
from celery.exceptions import ImproperlyConfigured, TaskRevokedError, WorkerLostError
from celery.result import ResultBase
from kombu.serialization import dumps, loads
from kombu.utils import json

from stratix_kombu.celery.bridge import Bridge, bridge_of
from stratix_kombu.errors import JobFailed, JobNotFound, WaitTimeout
from stratix_kombu.model.message import is_task_message
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.queue_events import QueueEvents

SERIALIZED = "__serialized__"
LOOK_AGAIN_S = 1.0
"""A job may change its queue, or not be there yet: longest wait for its event before it is read again."""
UNKNOWN_POLL_S = 0.005
UNKNOWN_POLL_MAX_S = 0.2
"""An id that nobody has published yet, such as a chord's body, has no events: it is looked for, ever less often."""


class Results(BaseBackend):
    """The reading half of the backend."""

    supports_autoexpire = True
    supports_native_join = True
    persistent = True

    def __init__(self, app: Any, url: str | None = None, **kwargs: Any) -> None:
        super().__init__(app, url=url or "stratix://", **kwargs)
        self.thread_safe = True
        self._hubs: dict[str, QueueEvents] = {}

    @property
    def bridge(self) -> Bridge:
        bridge = bridge_of(self.app)
        if bridge is None:
            raise ImproperlyConfigured(
                "the result backend stratix:// needs the bridge: call stratix_kombu.celery.install(app)"
            )
        return bridge

    def close(self) -> None:
        """End waiting for events."""
        hubs, self._hubs = list(self._hubs.values()), {}
        for hub in hubs:
            hub.close()

    # -- values ---------------------------------------------------------------------------------

    def result_text(self, value: Any) -> str:
        """A task's result as JSON; what JSON cannot say as the result serializer of the configuration says it."""
        if isinstance(value, ResultBase):
            value = value.as_tuple()
        if self.serializer == "json":
            return str(json.dumps(value))
        content_type, encoding, payload = dumps(value, serializer=self.serializer)
        raw = payload if isinstance(payload, bytes) else payload.encode()
        return str(json.dumps({SERIALIZED: [content_type, encoding, base64.b64encode(raw).decode()]}))

    def value_of(self, text: str | None) -> Any:
        """What ``result_text`` wrote."""
        value = json.loads(text) if text else None
        if isinstance(value, dict) and value.keys() == {SERIALIZED}:
            content_type, encoding, payload = value[SERIALIZED]
            return loads(base64.b64decode(payload), content_type, encoding, accept=self.accept)
        return value

    def error_of(self, record: JobRecord) -> BaseException:
        """The exception for which a job failed."""
        if record.result:
            error: BaseException = self.exception_to_python(json.loads(record.result))
            return error
        reason = record.failed_reason or "unknown"
        return WorkerLostError(reason) if "stopped renewing the lease" in reason else JobFailed(record.id, reason)

    # -- reading --------------------------------------------------------------------------------

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        (record,) = self.bridge.engine.store.queries.get([str(task_id)])
        return self._meta(str(task_id), record)

    def _meta(self, task_id: str, record: JobRecord | None) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "task_id": task_id, "status": states.PENDING, "result": None, "traceback": None, "children": None,
        }  # fmt: skip
        if record is None:
            return meta
        if is_task_message(record.message) and record.data != "null":
            meta["children"] = (json.loads(record.data) or {}).get("children")
        if record.state is State.COMPLETED:
            meta.update(status=states.SUCCESS, result=self.value_of(record.result))
        elif record.state is State.FAILED:
            error = self.error_of(record)
            status = states.REVOKED if isinstance(error, TaskRevokedError) else states.FAILURE
            meta.update(status=status, result=error, traceback=_traceback(record))
        elif record.progress:
            told = json.loads(record.progress)
            if isinstance(told, dict) and "celery_state" in told:
                meta.update(status=told["celery_state"], result=told.get("meta"))
        if record.state is State.ACTIVE and meta["status"] == states.PENDING and self.app.conf.task_track_started:
            meta["status"] = states.STARTED
        elif record.attempts_made and not record.state.finished and record.state is not State.ACTIVE:
            meta.update(status=states.RETRY, result=Exception(record.failed_reason or ""), traceback=_traceback(record))
        if record.finished_ms:
            meta["date_done"] = _instant(record.finished_ms)
        if self.app.conf.result_extended:
            meta["name"], meta["queue"], meta["worker"] = record.name, record.queue, record.worker
            meta["retries"] = max(record.attempts_made - 1, 0)
        return meta

    def wait_for(
        self, task_id: str, timeout: float | None = None, interval: float = 0.5, no_ack: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The meta of a task that has ended; told by the store's events, not by polling. Raises TimeoutError."""
        self._ensure_not_eager()
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, told = UNKNOWN_POLL_S, time.monotonic()
        while True:
            (record,) = self.bridge.engine.store.queries.get([str(task_id)])
            meta = self._meta(str(task_id), record)
            if meta["status"] in states.READY_STATES:
                return meta
            if on_interval and time.monotonic() - told >= interval:
                told = time.monotonic()
                on_interval()
            pause = self._wait_for_news(str(task_id), record, deadline, pause)
            if deadline is not None and time.monotonic() >= deadline:
                raise exceptions.TimeoutError("The operation timed out.")

    def get_many(
        self, task_ids: Iterable[str], timeout: float | None = None, interval: float = 0.5,
        on_message: Callable[[Any], Any] | None = None, on_interval: Callable[[], Any] | None = None, **kwargs: Any,
    ) -> Iterator[tuple[str, dict[str, Any]]]:  # fmt: skip
        """Id and meta of each task as it ends, many read at a time."""
        waiting = dict.fromkeys(str(one) for one in task_ids)
        deadline = None if timeout is None else time.monotonic() + timeout
        rounds, pause, told = 0, UNKNOWN_POLL_S, time.monotonic()
        while waiting:
            ids = list(waiting)
            open_: tuple[str, JobRecord | None] | None = None
            for one, record in zip(ids, self.bridge.engine.store.queries.get(ids), strict=True):
                meta = self._meta(one, record)
                if meta["status"] in states.READY_STATES:
                    del waiting[one]
                    if on_message is not None:
                        on_message(meta)
                    yield one, meta
                else:
                    open_ = (one, record)
            rounds += 1
            if open_ is None or rounds == kwargs.get("max_iterations"):
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise exceptions.TimeoutError("The operation timed out.")
            if on_interval and time.monotonic() - told >= interval:
                told = time.monotonic()
                on_interval()
            pause = self._wait_for_news(*open_, deadline, pause)

    def _wait_for_news(
        self, task_id: str, record: JobRecord | None, deadline: float | None, pause: float
    ) -> float:
        """Return when the job may have ended; how long to pause the next time while it is not there yet."""
        left = LOOK_AGAIN_S if deadline is None else min(max(deadline - time.monotonic(), 0), LOOK_AGAIN_S)
        if record is None:
            time.sleep(min(left, pause))
            return min(pause * 1.5, UNKNOWN_POLL_MAX_S)
        queue = record.queue
        hub = self._hubs.get(queue) or self._hubs.setdefault(queue, QueueEvents(self.bridge.engine, queue))
        with suppress(WaitTimeout, JobNotFound):
            hub.wait(task_id, left)
        return UNKNOWN_POLL_S


def _traceback(record: JobRecord) -> str | None:
    return "\n".join(json.loads(record.stacktrace)) if record.stacktrace else None


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat()
