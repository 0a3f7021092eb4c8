"""``StratixBackend``: results, groups and chords of Celery on job records. ``install`` sets it.

Nothing here publishes or counts: what follows a task is added in the step that ends it (see ``attempt.py``), and a
chord is a job that depends on its header (see ``join.py``). The tracer's ``mark_as_*`` calls find the work done.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from celery import exceptions, states
from celery.backends.base import BaseBackend
from celery.exceptions import ImproperlyConfigured, TaskRevokedError, WorkerLostError
from celery.result import AsyncResult, GroupResult, ResultBase, result_from_tuple
from kombu.serialization import dumps, loads
from kombu.utils import json

from stratix_kombu.celery.attempt import Attempt, error_text, reason_of
from stratix_kombu.celery.bridge import Bridge, bridge_of
from stratix_kombu.celery.collect import collecting, current, join_id, leaves, results_in
from stratix_kombu.celery.task import attempt_of
from stratix_kombu.errors import InvalidJobState, JobFailed, JobNotFound, StratixError, WaitTimeout
from stratix_kombu.lifecycle.add import add
from stratix_kombu.lifecycle.complete import complete
from stratix_kombu.lifecycle.depend import add_dependency
from stratix_kombu.lifecycle.fail import fail
from stratix_kombu.lifecycle.remove import remove
from stratix_kombu.model.record import ANY_CLAIM, Completion, Failure, JobRecord, NewJob
from stratix_kombu.model.state import State
from stratix_kombu.queue_events import QueueEvents

SERIALIZED = "__serialized__"
LOOK_AGAIN_S = 1.0
"""A job may change its queue, or not be there yet: longest wait for its event before it is read again."""
UNKNOWN_POLL_S = 0.005
UNKNOWN_POLL_MAX_S = 0.2
"""An id that nobody has published yet, such as a chord's body, has no events: it is looked for, ever less often."""


class StratixBackend(BaseBackend):
    """Answers from the store that the bridge uses."""

    supports_autoexpire = True
    supports_native_join = True
    persistent = True

    def __init__(self, app: Any, url: str | None = None, **kwargs: Any) -> None:
        super().__init__(app, url=url or "stratix://", **kwargs)
        self.thread_safe = True
        self._hubs: dict[tuple[int, str], QueueEvents] = {}

    @property
    def bridge(self) -> Bridge:
        bridge = bridge_of(self.app)
        if bridge is None:
            raise ImproperlyConfigured(
                "the result backend stratix:// needs the bridge: call stratix_kombu.celery.install(app)"
            )
        return bridge

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
        self, task_ids: Iterable[str], timeout: float | None = None, interval: float = 0.5, no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None, on_interval: Callable[[], Any] | None = None,
        max_iterations: int | None = None, **kwargs: Any,
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
            if open_ is None or (max_iterations and rounds >= max_iterations):
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
        key = (os.getpid(), record.queue)
        hub = self._hubs.get(key) or self._hubs.setdefault(key, QueueEvents(self.bridge.engine, record.queue))
        with suppress(WaitTimeout, JobNotFound):
            hub.wait(task_id, left)
        return UNKNOWN_POLL_S

    # -- what the tracer and the worker's main process call ---------------------------------------

    def mark_as_done(
        self, task_id: str, result: Any, request: Any = None, store_result: bool = True, state: str = states.SUCCESS
    ) -> None:
        attempt = attempt_of(request)
        if attempt is None:
            if store_result:
                self.store_result(task_id, result, state, request=request)
        elif attempt.adopted and (previous := self.bridge.previous_backend) is not None:
            previous.mark_as_done(task_id, result, request, store_result, state)

    def mark_as_failure(
        self, task_id: str, exc: BaseException, traceback: Any = None, request: Any = None, store_result: bool = True,
        call_errbacks: bool = True, state: str = states.FAILURE,
    ) -> None:  # fmt: skip
        attempt = attempt_of(request)
        if attempt is not None and attempt.settled:
            if attempt.adopted and (previous := self.bridge.previous_backend) is not None:
                previous.mark_as_failure(task_id, exc, traceback, request, store_result, False, state)
            return
        collector = current()
        if collector is not None and collector.owner:
            collector.fail(task_id)
            return
        # Only the worker's main process knows: the child was killed, by a time limit or otherwise.
        with collecting(task_id) as collector:
            if request is not None and call_errbacks:
                self.call_errbacks(request, exc, traceback)
            for step in getattr(request, "chain", None) or ():
                for job_id, name in results_in(step):
                    collector.fail(job_id, name)
        self._end_by_hand(task_id, exc, traceback, collector.finish(self.app.conf.task_default_queue))

    def mark_as_revoked(
        self, task_id: str, reason: str = "", request: Any = None, store_result: bool = True,
        state: str = states.REVOKED,
    ) -> None:  # fmt: skip
        self._end_by_hand(task_id, TaskRevokedError(reason), None)

    def mark_as_retry(self, task_id: str, exc: Any, traceback: Any = None, request: Any = None, **kwargs: Any) -> None:
        """The store knows: the attempt was handed over."""

    def mark_as_started(self, task_id: str, **meta: Any) -> None:
        """The store knows: the job was claimed."""

    def call_errbacks(self, request: Any, error: BaseException, traceback: Any) -> None:
        """Call or publish what ``link_error`` named."""
        if request.errbacks:
            self._call_task_errbacks(request, error, traceback)

    def _end_by_hand(
        self, task_id: str, error: BaseException, traceback: Any, then: tuple[NewJob, ...] = ()
    ) -> None:
        trace = str(json.dumps([str(traceback)])) if traceback else ""
        fail(
            self.bridge.engine,
            [Failure(task_id, ANY_CLAIM, reason_of(error), trace, error=error_text(self, error), then=then)],
        )

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """``update_state`` and its like; ``result`` is encoded already."""
        attempt = attempt_of(request)
        if state in (states.STARTED, states.RETRY, states.RECEIVED, states.PENDING):
            return result
        if state not in states.READY_STATES:
            self._tell_progress(task_id, state, result)
        elif attempt is not None and not attempt.settled and attempt.job_id == task_id:
            attempt.stored = (state, result)
        else:
            self._store_final(task_id, result, state)
        return result

    def _tell_progress(self, task_id: str, state: str, meta: Any) -> None:
        value = str(json.dumps({"celery_state": state, "meta": meta}))
        try:
            self.bridge.engine.store.transitions.progress(task_id, value)
        except JobNotFound:
            add(self.bridge.engine, [self._document(task_id, "celery.result")])
            self.bridge.engine.store.transitions.progress(task_id, value)

    def _store_final(self, task_id: str, result: Any, state: str) -> None:
        collector = current()
        if collector is not None and collector.owner and state != states.SUCCESS:
            collector.fail(task_id)
            return
        engine = self.bridge.engine
        add(engine, [self._document(task_id, "celery.result")])
        if state == states.SUCCESS:
            complete(engine, [Completion(task_id, ANY_CLAIM, self.result_text(result))])
        else:
            error = self.exception_to_python(result) if isinstance(result, dict) else Exception(str(result))
            fail(engine, [Failure(task_id, ANY_CLAIM, reason_of(error), error=error_text(self, error))])

    def _document(self, job_id: str, name: str) -> NewJob:
        """A record that nobody runs."""
        keep, _ = self.bridge.publisher.retention(False)
        return NewJob(
            id=job_id, queue=self.app.conf.task_default_queue, name=name, vacant=True, keep_completed=keep,
            keep_failed=keep,
        )  # fmt: skip

    def _forget(self, task_id: str) -> None:
        try:
            remove(self.bridge.engine, task_id)
        except (JobNotFound, InvalidJobState):
            return

    def process_cleanup(self) -> None:
        """Nothing is kept for one task."""

    def as_uri(self, include_password: bool = False) -> str:
        return f"stratix://{self.bridge.engine.store.address.partition('://')[2]}"

    # -- groups and chords ------------------------------------------------------------------------

    def _save_group(self, group_id: str, result: Any) -> Any:
        self._delete_group(group_id)
        engine, job_id = self.bridge.engine, f"{group_id}.group"
        add(engine, [self._document(job_id, "celery.group")])
        complete(engine, [Completion(job_id, ANY_CLAIM, str(json.dumps(result.as_tuple())))])
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        (record,) = self.bridge.engine.store.queries.get([f"{group_id}.group"])
        if record is None or record.state is not State.COMPLETED:
            return None
        return {"result": result_from_tuple(self.value_of(record.result), self.app)}

    def _delete_group(self, group_id: str) -> None:
        self._forget(f"{group_id}.group")

    def ensure_chords_allowed(self) -> None:
        """They are."""

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        group_id, results = header_result_args
        tree = [_tree(one) for one in results]
        self.bridge.publisher.join(group_id, tree, body, list(leaves(tree)))

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """The join knows what it waits for."""

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> None:
        """The store counts, in the step that ends the part."""

    def add_to_chord(self, chord_id: str, result: Any) -> None:
        """Let the chord wait for one more task, which the current one is about to send."""
        from celery import current_task

        attempt = attempt_of(current_task.request) if current_task else None
        if not isinstance(attempt, Attempt):
            raise StratixError("a task can be added to a chord only by a running task of its header")
        placeholder = NewJob(
            id=result.id, queue=attempt.queue, name="awaited", vacant=True, dependencies=(attempt.job_id,)
        )
        add(self.bridge.engine, [placeholder])
        add_dependency(self.bridge.engine, join_id(chord_id), result.id)


def _tree(result: Any) -> Any:
    if isinstance(result, GroupResult):
        return [_tree(one) for one in result.results]
    assert isinstance(result, AsyncResult)
    return result.id


def _traceback(record: JobRecord) -> str | None:
    return "\n".join(json.loads(record.stacktrace)) if record.stacktrace else None


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat()
