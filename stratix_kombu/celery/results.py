"""Reading results of Celery tasks from job records."""

from __future__ import annotations

import base64
import json as plain_json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from celery import states
from celery.backends.base import BaseBackend
from celery.exceptions import ImproperlyConfigured, WorkerLostError
from celery.result import ResultBase, ResultSet
from kombu.exceptions import DecodeError, EncodeError
from kombu.serialization import dumps, loads
from kombu.utils import json

from stratix_kombu.celery.bridge import Bridge, bridge_of
from stratix_kombu.celery.meta import RETRIES, TOLD, is_bare, is_celerys, meta_of
from stratix_kombu.celery.news import News
from stratix_kombu.celery.plain import has_gone_on
from stratix_kombu.errors import JobFailed
from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.stalls import failed_by_stalling
from stratix_kombu.model.state import State
from stratix_kombu.queue.events import QueueEvents

SERIALIZED = "__serialized__"
"""The only key of a value that another serializer wrote. A JSON result that looks the same is written as if by another
serializer, so that it cannot be mistaken for one."""


class Results(BaseBackend):
    """The reading half of the backend."""

    supports_failure_expires = True
    supports_native_join = True
    persistent = True
    is_async = True
    """Celery calls what was given to ``then`` of a group once the last result has been read."""

    def __init__(self, app: Any, url: str | None = None, **kwargs: Any) -> None:
        super().__init__(app, url=url or "stratix://", expires_type=int, **kwargs)
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

    def __getattr__(self, name: str) -> Any:
        """What Celery's backends have beyond keeping results is still that of the configured one: projects use its
        ``client``, ``get`` or ``ResultSession`` for data of their own."""
        previous = None if name.startswith("_") else self.bridge.previous_backend
        if previous is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return getattr(previous, name)

    def close(self) -> None:
        """End waiting for events."""
        hubs, self._hubs = list(self._hubs.values()), {}
        for hub in hubs:
            hub.close()

    # -- values ---------------------------------------------------------------------------------

    def result_text(self, value: Any) -> str:
        """A task's result as JSON; values that JSON cannot express are written by the configured result serializer.
        Raises EncodeError."""
        if isinstance(value, ResultBase):
            value = value.as_tuple()
        if self.serializer == "json" and not _looks_serialized(value):
            try:
                return str(json.dumps(value))
            except Exception as problem:
                raise EncodeError(problem) from problem
        content_type, encoding, payload = dumps(value, serializer=self.serializer)
        raw = payload if isinstance(payload, bytes) else payload.encode()
        return str(json.dumps({SERIALIZED: [content_type, encoding, base64.b64encode(raw).decode()]}))

    def value_of(self, text: str | None, record: JobRecord | None = None) -> Any:
        """Reads what ``result_text`` wrote. The result of a queue's handler is JSON, whatever it looks like; the
        record, if there is one, says which it is. Raises DecodeError."""
        if text and record is not None and not is_celerys(record):
            return plain_json.loads(text)  # Kombu takes some objects for values of other types
        try:
            value: Any = json.loads(text) if text else None
        except Exception as problem:  # an object that only looks like a value of another type
            raise DecodeError(problem) from problem
        if _looks_serialized(value):
            content_type, encoding, payload = value[SERIALIZED]
            return loads(base64.b64decode(payload), content_type, encoding, accept=self.accept)
        return value

    def error_of(self, record: JobRecord) -> BaseException:
        """The exception for which a job failed."""
        if record.result:
            try:
                error = self.exception_to_python(self.value_of(record.result, record))
            except Exception:  # it does not describe one: other programs write there, too
                error = None
            if isinstance(error, BaseException):
                return error
        reason = record.failed_reason or "unknown"
        return WorkerLostError(reason) if failed_by_stalling(record) else JobFailed(record.id, reason)

    def progress_of(self, state: str, meta: Any, request: Any = None, traceback: Any = None) -> dict[str, Any]:
        """A state that a task has set itself, or that was set by hand, as the progress of its job; ``request``: that of
        the task."""
        told = {TOLD: state, "meta": json.loads(self.result_text(meta))}
        retries = getattr(request, "retries", None)
        if retries != 0:
            told[RETRIES] = retries
        children = self.current_task_children(request)
        if children != []:
            told["children"] = children
        if traceback:
            told["traceback"] = str(traceback)
        if state in states.READY_STATES:
            told["date_done"] = self.app.now().isoformat()
        return told

    # -- reading --------------------------------------------------------------------------------

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        (record,) = self.bridge.engine.store.queries.get([task_job_id(task_id)])
        return self.meta_for(str(task_id), record)

    def meta_for(self, task_id: str, record: JobRecord | None) -> dict[str, Any]:
        """The metadata of a task. One that the store does not know, or is just being told of, may have run before the
        bridge was installed: its result is in the backend of the configuration."""
        unknown = record is None or is_bare(record) or has_gone_on(record)
        older = self.bridge.mirror.older if unknown else None
        if older is not None:
            meta: dict[str, Any] = older.get_task_meta(task_id, cache=False)
            return meta
        return meta_of(self, task_id, record)

    @property
    def supports_autoexpire(self) -> bool:
        """Whether nothing is to be cleaned up: true for the store, but perhaps not for the configured backend."""
        previous = self.bridge.previous_backend
        return previous is None or bool(previous.supports_autoexpire)

    def cleanup(self) -> None:
        """Called daily, as a task, if the configured backend needs it."""
        previous = self.bridge.previous_backend
        if previous is not None:
            previous.cleanup()

    def harmless(self, results: list[Any]) -> list[Any]:
        """Those of these results whose tasks have not failed, in one call."""
        found = self.bridge.engine.store.queries.states([task_job_id(str(one.id)) for one in results])
        return [one for one, state in zip(results, found, strict=True) if state is not State.FAILED]

    def wait_for_pending(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The result of a task once it has finished; ``on_message`` is called with each metadata until then."""
        self._ensure_not_eager()
        meta = News(self, [result.id], on_message).wait(timeout, interval, on_interval)
        if on_interval and result.parent and meta["status"] in states.PROPAGATE_STATES:
            on_interval()  # Celery's raises the error of a parent, which is the cause of this one
        result._maybe_set_cache(meta)
        kwargs.pop("no_ack", None)
        return result.maybe_throw(**kwargs)

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> dict[str, Any]:
        """The metadata of a task once it has finished; it waits for the store's events instead of polling. Raises
        TimeoutError."""
        self._ensure_not_eager()
        return News(self, [task_id]).wait(timeout, interval, on_interval)

    def get_many(
        self,
        task_ids: Iterable[str],
        timeout: float | None = None,
        interval: float = 0.5,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        **kwargs: Any,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Id and meta of each task as it ends, many read at a time."""
        news = News(self, task_ids, rounds=kwargs.get("max_iterations") or 0)
        for task_id, meta in news.metas(timeout, interval, on_interval):
            if on_message is not None:
                on_message(meta)
            yield task_id, meta

    def iter_native(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        **kwargs: Any,
    ) -> Iterator[tuple[str, Any]]:
        """As ``get_many``, for a group. What its results know already is not asked for, for it may be that of a task
        that ran in this process. The others know then what was read, and whoever waits for them by ``then`` is
        called."""
        self._ensure_not_eager()
        unread: dict[str, list[Any]] = {}
        known: list[tuple[str, Any]] = []
        for one in result.results:
            if isinstance(one, ResultSet):
                known.append((one.id, one.results))
            elif one._cache:
                known.append((one.id, one._cache))
            else:
                unread.setdefault(str(one.id), []).append(one)
        yield from known
        for task_id, meta in News(self, unread, on_message).metas(timeout, interval, on_interval):
            for one in unread[task_id]:
                one._maybe_set_cache(meta)
            yield task_id, meta

    def hub(self, queue: str) -> QueueEvents:
        """The events of a queue."""
        return self._hubs.get(queue) or self._hubs.setdefault(queue, QueueEvents(self.bridge.engine, queue))


def _looks_serialized(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {SERIALIZED}
