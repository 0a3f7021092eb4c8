"""What happens in one queue: waiting for jobs, and listeners, in order, from any process."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from stratix_kombu.errors import (
    Closed,
    ConfigurationError,
    InvalidPayload,
    JobFailed,
    JobNotFound,
    WaitTimeout,
    nearest,
)
from stratix_kombu.job import Job, Runtime
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.listeners import Function, Listeners
from stratix_kombu.model.codec import MAX_PAYLOAD_BYTES, decode
from stratix_kombu.model.event import BUILT_IN, Event
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.options import snake

RECHECK_S = 5.0
"""Waiters look at their records this often, in case an entry of the log was lost."""

Resolve = Callable[[JobRecord | BaseException], None]


class Listening:
    """The methods of a queue for its listeners."""

    _events: QueueEvents

    def on(self, event: str, function: Function | None = None) -> Any:
        """Call ``function`` for each such event of the queue, from any process, in order; or as a decorator.

        ``completed(job, result)``, ``failed(job, error)``, ``progress(job, value)``, ``cleaned(count)``; with the job:
        ``waiting active delayed blocked stalled retries_exhausted duplicated removed``; with nothing: ``drained
        paused resumed``. ``error(error)`` tells of faults in this process. The function may be ``async def``; it runs
        on a thread of its own, and holds up nobody.

        >>> queue.on("failed", lambda job, error: print(job.id, error.reason))  # doctest: +SKIP
        """
        if function is None:
            return lambda decorated: self.on(event, decorated)
        self._events.on(event, function)
        return function

    def once(self, event: str, function: Function | None = None) -> Any:
        """As ``on``, for the first such event only."""
        if function is None:
            return lambda decorated: self.once(event, decorated)
        self._events.on(event, function, once=True)
        return function

    def off(self, event: str, function: Callable[..., Any] | None = None) -> int:
        """Remove a listener, or all of the event; how many there were."""
        return self._events.off(event, function)


class QueueEvents(Listeners):
    """One reader thread for all waiters and listeners of a queue, started when there is the first."""

    unlogged = frozenset({"error"})

    def __init__(self, engine: Engine, queue: str, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        super().__init__(engine.store.events, queue, f"queue {queue!r}")
        self.runtime = Runtime(engine, self, max_payload_bytes)
        self._engine = engine
        self._waiters: dict[str, list[Resolve]] = defaultdict(list)
        self._checked = time.monotonic()
        engine.on_error(self._on_error)

    def after_fork(self) -> None:
        super().after_fork()
        self._waiters.clear()

    # -- waiting --------------------------------------------------------------------------------

    def wait(self, job_id: str, timeout: float | timedelta | None) -> JobRecord:
        """The record of the job once it has ended. Raises WaitTimeout, JobNotFound."""
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        done = threading.Event()
        found: list[JobRecord | BaseException] = []

        def resolve(outcome: JobRecord | BaseException) -> None:
            found.append(outcome)
            done.set()

        self.subscribe(job_id, resolve)
        if not done.wait(seconds):
            self.unsubscribe(job_id, resolve)
            raise WaitTimeout(f"job {job_id!r} of queue {self._queue!r} has not ended", seconds or 0.0)
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    def subscribe(self, job_id: str, resolve: Resolve) -> None:
        """Have ``resolve`` called once, from any thread, when the job has ended or is gone."""
        with self._lock:
            self._open()
            self._waiters[job_id].append(resolve)
        self._ensure_reader()
        self._recheck([job_id])

    def unsubscribe(self, job_id: str, resolve: Resolve) -> None:
        with self._lock:
            waiters = self._waiters.get(job_id, [])
            if resolve in waiters:
                waiters.remove(resolve)
            if not waiters:
                self._waiters.pop(job_id, None)

    def _recheck(self, ids: list[str]) -> None:
        for job_id, record in zip(ids, self._engine.store.queries.get(ids), strict=True):
            if record is None:
                self._resolve(job_id, JobNotFound(job_id, self._queue))
            elif record.state.finished:
                self._resolve(job_id, record)

    def _resolve(self, job_id: str, outcome: JobRecord | BaseException) -> None:
        with self._lock:
            waiters = self._waiters.pop(job_id, [])
        for resolve in waiters:
            resolve(outcome)

    # -- listeners ------------------------------------------------------------------------------

    def event_name(self, given: str) -> str:
        name = snake(given)
        if name not in BUILT_IN:
            raise ConfigurationError(
                f"queue {self._queue!r}: unknown event {given!r}{nearest(name, BUILT_IN)}; events of your own are "
                "those of app.queue.on and app.queue.emit"
            )
        return name

    def _on_error(self, queue: str, error: BaseException) -> None:
        if queue in ("", self._queue):
            self._pass_on("error", (error,))

    def close(self) -> None:
        """End waits with Closed, and listeners after what they have been given."""
        with self._lock:
            self._closed.set()
            waiting = list(self._waiters)
        for job_id in waiting:
            self._resolve(job_id, Closed(f"queue {self._queue!r}"))
        super().close()

    # -- reading --------------------------------------------------------------------------------

    def _idle(self) -> None:
        if time.monotonic() - self._checked > RECHECK_S:
            self._checked = time.monotonic()
            with self._lock:
                waiting = list(self._waiters)
            self._recheck(waiting)

    def _tell(self, events: list[Event]) -> None:
        with self._lock:
            names = {one.name for one in self._listeners}
            waited = set(self._waiters)
        heard = [event for event in events if event.name in names]
        ended = {event.job_id for event in events if event.name in ("completed", "failed", "removed")}
        ids = list(dict.fromkeys([*(ended & waited), *(event.job_id for event in heard if event.job_id)]))
        records = dict(zip(ids, self._engine.store.queries.get(ids), strict=True)) if ids else {}
        for event in events:
            if event.job_id in waited:
                self._tell_waiters(event, records.get(event.job_id))
        for event in heard:
            try:
                self._pass_on(event.name, self._arguments(event, records.get(event.job_id)))
            except InvalidPayload as problem:
                self._skip(event, problem)

    def _tell_waiters(self, event: Event, record: JobRecord | None) -> None:
        if record is not None and record.state.finished:
            self._resolve(event.job_id, record)
        elif event.name == "completed" or event.name == "failed":
            if record is None:
                self._resolve(event.job_id, _record_of(event))
        elif event.name == "removed":
            self._resolve(event.job_id, JobNotFound(event.job_id, self._queue))

    def _arguments(self, event: Event, record: JobRecord | None) -> tuple[Any, ...]:
        if event.name == "cleaned":
            return (decode(event.value),)
        if not event.job_id:
            return ()
        job = Job(record or _record_of(event), self.runtime)
        if event.name == "completed":
            return (job, job.return_value if event.value is None else decode(event.value))
        if event.name == "failed":
            return (job, JobFailed(event.job_id, event.value or ""))
        if event.name == "progress":
            return (job, decode(event.value))
        return (job,)


def _record_of(event: Event) -> JobRecord:
    """What an event tells of a job whose record is gone."""
    state = State(event.name) if event.name in ("completed", "failed") else State.WAITING
    record = JobRecord(
        id=event.job_id, queue=event.queue, name=event.job_name, data="null", options="", state=state, priority=0,
        created_ms=0, due_ms=0, processed_ms=0, finished_ms=event.at_ms if state.finished else 0, attempts_made=0,
        attempts_started=0, max_attempts=1, stalled_count=0, pending=0, optional=False, worker="", progress=None,
        result=None, failed_reason=None, stacktrace=None,
    )  # fmt: skip
    if state is State.COMPLETED:
        return replace(record, result=event.value)
    return replace(record, failed_reason=event.value) if state is State.FAILED else record
