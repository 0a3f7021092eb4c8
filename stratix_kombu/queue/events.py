"""What happens in one queue: waiting for jobs, and listeners, in order, from any process."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stratix_kombu.config.options import snake
from stratix_kombu.errors import (
    Closed,
    ConfigurationError,
    EventsMissed,
    InvalidPayload,
    JobFailed,
    JobNotFound,
    Unavailable,
    WaitTimeout,
    nearest,
)
from stratix_kombu.foreign import EVENTS
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.arguments import plain_text, seconds
from stratix_kombu.model.bare import bare_record
from stratix_kombu.model.codec import MAX_PAYLOAD_BYTES, decode
from stratix_kombu.model.event import BUILT_IN, Event
from stratix_kombu.model.record import Ended, JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.queue.job import Job, Resolve, Runtime
from stratix_kombu.queue.listeners import Function, Listeners

if TYPE_CHECKING:
    pass

RECHECK_S = 5.0
"""Waiters read their records this often, in case an entry of the log was lost."""

AT_ONCE = 100
"""Records that are read in one call."""
_ENDS = frozenset({"completed", "failed", "removed"})

logger = logging.getLogger("stratix_kombu.events")


class QueueEvents(Listeners):
    """One reader thread for all waiters and listeners of a queue, started with the first of them."""

    unlogged = frozenset({"error"})

    def __init__(
        self,
        engine: Engine,
        queue: str,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        idle_handlers: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(engine.store.events, queue, f"queue {queue!r}")
        self.runtime = Runtime(engine, self, max_payload_bytes)
        engine.runtimes[queue] = self.runtime
        self._engine = engine
        self._waiters: dict[str, list[Resolve]] = defaultdict(list)
        self._checked = time.monotonic()
        self._to_look = False
        """Whether a worker has started here, and it is not known yet whether there was work for it."""
        self._idle_handlers = idle_handlers
        """Whether this process has handlers of the queue and takes no jobs."""
        self._hinted = False
        engine.on_error(self._on_error)

    def after_fork(self) -> None:
        super().after_fork()
        self._waiters.clear()
        self._to_look = False

    def worker_came_up(self) -> None:
        """A queue that is empty at that point is drained: listeners in this process, including later ones, receive that
        once, since no job will finish that could cause the event."""
        self._to_look = True
        if self._listens("drained"):
            self._thread.wake()

    def on(self, name: str, function: Function, once: bool = False) -> None:
        super().on(name, function, once)
        if self._to_look:
            self._thread.wake()

    # -- waiting --------------------------------------------------------------------------------

    def wait(self, job_id: str, timeout: float | timedelta | None) -> JobRecord | Ended:
        """The record of the job once it has finished, or how it ended. Raises WaitTimeout, JobNotFound."""
        patience = seconds(timeout, "wait_until_finished: 'timeout'")
        done = threading.Event()
        outcomes: list[JobRecord | Ended | BaseException] = []

        def resolve(outcome: JobRecord | Ended | BaseException) -> None:
            outcomes.append(outcome)
            done.set()

        try:
            self.subscribe(job_id, resolve)
            if not done.wait(patience):
                raise self.timed_out(job_id, patience or 0.0)
        finally:
            self.unsubscribe(job_id, resolve)
        if isinstance(outcomes[0], BaseException):
            raise outcomes[0]
        return outcomes[0]

    def timed_out(self, job_id: str, patience: float) -> WaitTimeout:
        """The error for a wait that timed out, perhaps because no worker takes the queue's jobs."""
        return WaitTimeout(
            f"job {job_id!r} of queue {self._queue!r} has not finished", patience, self._hint(asked=True)
        )

    def _hint(self, asked: bool = False) -> str:
        """What to write if a job is waited for and no worker takes it. Without ``asked``, only for a program that seems
        to have forgotten to start."""
        idle = self._idle_handlers()
        with suppress(Unavailable):
            if (idle or asked) and not self._engine.store.queries.workers(self._queue):
                forgotten = ", and this process has a handler for it but runs no jobs" if idle else ""
                take = "app.start(), app.run() or 'stratix-kombu worker' runs jobs"
                return f": no worker of the queue is known{forgotten}; {take}"
        return ""

    def subscribe(self, job_id: str, resolve: Resolve) -> None:
        """Have ``resolve`` called once, from any thread, when the job has finished or no longer exists."""
        with self._lock:
            self._open()
            self._waiters[job_id].append(resolve)
        self._ensure_followed()
        self._recheck([job_id])

    def unsubscribe(self, job_id: str, resolve: Resolve) -> None:
        with self._lock:
            waiters = self._waiters.get(job_id, [])
            if resolve in waiters:
                waiters.remove(resolve)
            if not waiters:
                self._waiters.pop(job_id, None)

    def _recheck(self, ids: list[str]) -> None:
        for start in range(0, len(ids), AT_ONCE):
            page = ids[start : start + AT_ONCE]
            records = self._records(page)
            ends = self._ends([job_id for job_id in page if records[job_id] is None])
            for job_id, record in records.items():
                if record is None:
                    self._resolve(job_id, ends.get(job_id) or JobNotFound(job_id, self._queue))
                elif isinstance(record, InvalidPayload) or record.state.finished:
                    self._resolve(job_id, record)

    def _records(self, ids: Collection[str]) -> dict[str, JobRecord | InvalidPayload | None]:
        """A record that cannot be read does not affect the others."""
        queries = self._engine.store.queries
        try:
            return dict(zip(ids, queries.get(list(ids)), strict=True))
        except InvalidPayload as problem:
            if len(ids) == 1:
                return dict.fromkeys(ids, problem)
            return {job_id: record for single in ids for job_id, record in self._records([single]).items()}

    def _ends(self, ids: Collection[str]) -> dict[str, Ended | None]:
        """How jobs ended whose record no longer exists."""
        return dict(zip(ids, self._engine.store.queries.ended(list(ids)), strict=True)) if ids else {}

    def _resolve(self, job_id: str, outcome: JobRecord | Ended | BaseException) -> None:
        with self._lock:
            waiters = self._waiters.pop(job_id, [])
        for resolve in waiters:
            try:
                resolve(outcome)
            except Exception:
                # An error in one waiter must not affect other waiters or listeners.
                logger.exception("a waiter for job %s cannot be notified", job_id, extra={"action": "waiter_failed"})

    # -- listeners ------------------------------------------------------------------------------

    def event_name(self, given: str) -> str:
        name = snake(plain_text(given, f"queue {self._queue!r}: the name of an event"))
        if name not in BUILT_IN:
            raise ConfigurationError(
                f"queue {self._queue!r}: unknown event {given!r}{nearest(name, BUILT_IN, EVENTS)} (for "
                "events of your own use app.queue.on and app.queue.emit)"
            )
        return name

    def missed(self, count: int, event: str = "") -> None:
        super().missed(count, event)
        self._checked = float("-inf")  # an event that is waited for may have been among them

    def _report_missed(self, error: EventsMissed) -> None:
        self._engine.report(self._queue, error, "events_missed")

    def _on_error(self, queue: str, error: BaseException) -> bool:
        """Whether there was a listener."""
        return queue in ("", self._queue) and self._pass_on("error", (error,))

    def close(self) -> None:
        """End waits with Closed, and listeners after the events that they were already given."""
        with self._lock:
            self._closed.set()
            waiting = list(self._waiters)
        for job_id in waiting:
            self._resolve(job_id, Closed(f"queue {self._queue!r}"))
        super().close()

    # -- reading --------------------------------------------------------------------------------

    def idle(self) -> None:
        if self._to_look and self._listens("drained"):
            counts = self._engine.store.queries.status(self._queue).counts
            self._to_look = False
            if not any(counts[state] for state in ("waiting", "paused", "active")):
                self._pass_on("drained", ())
        if time.monotonic() - self._checked > RECHECK_S:
            self._checked = time.monotonic()
            with self._lock:
                waiting = list(self._waiters)
            if waiting and not self._hinted and (hint := self._hint()):
                self._hinted = True
                logger.warning("%s is waited for%s", self._where, hint, extra={"action": "nobody_works"})
            states = self._engine.store.queries.states(waiting) if waiting else []
            self._recheck(
                [job_id for job_id, state in zip(waiting, states, strict=True) if state is None or state.finished]
            )

    def _tell(self, events: list[Event]) -> None:
        with self._lock:
            names = {listener.name for listener in self._listeners}
            waited = set(self._waiters)
        heard = [event for event in events if event.name in names]
        # The last one counts, since an id may have been used again.
        ended = {event.job_id: event for event in events if event.name in _ENDS and event.job_id in waited}
        ids = dict.fromkeys([*ended, *(event.job_id for event in heard if event.job_id)])
        records = self._records(ids) if ids else {}
        unsaid = (
            event.job_id
            for event in (*ended.values(), *heard)
            if event.name == "failed" or (event.name == "completed" and event.value is None)
        )
        ends = self._ends(dict.fromkeys(job_id for job_id in unsaid if records[job_id] is None))
        for job_id, event in ended.items():
            self._tell_waiters(event, records[job_id], ends.get(job_id))
        for event in heard:
            if event.name == "drained":
                self._to_look = False
            try:
                arguments = self._arguments(event, records.get(event.job_id), ends.get(event.job_id))
            except InvalidPayload as problem:
                self._skip(event, problem)
            else:
                self._pass_on(event.name, arguments)

    def _tell_waiters(self, event: Event, record: JobRecord | InvalidPayload | None, ended: Ended | None) -> None:
        if record is None:
            self._resolve(event.job_id, _end_of(event, ended) or JobNotFound(event.job_id, self._queue))
        elif isinstance(record, InvalidPayload) or record.state.finished:
            self._resolve(event.job_id, record)

    def _arguments(
        self, event: Event, record: JobRecord | InvalidPayload | None, ended: Ended | None
    ) -> tuple[Any, ...]:
        """What listeners of the event are called with. Raises InvalidPayload."""
        if isinstance(record, InvalidPayload):
            raise record
        if event.name == "cleaned":
            return (decode(event.value),)
        if not event.job_id:
            return ()
        job = Job(record or _record_of(event, ended), self.runtime)
        if event.name == "completed":
            return (job, job.return_value if event.value is None else decode(event.value))
        if event.name == "failed":
            return (job, JobFailed(event.job_id, event.value or ""))
        if event.name == "progress":
            return (job, job.progress if event.value is None else decode(event.value))
        return (job,)


def _end_of(event: Event, ended: Ended | None) -> Ended | None:
    """How the job ended: what the event says takes precedence over the record."""
    if event.name == "completed" and event.value is not None:
        return Ended(State.COMPLETED, event.at_ms, result=event.value)
    if event.name == "failed":
        return Ended(State.FAILED, event.at_ms, None, event.value or "", ended is not None and ended.cancelled)
    return ended


def _record_of(event: Event, ended: Ended | None) -> JobRecord:
    """What an event says about a job whose record no longer exists."""
    ended = _end_of(event, ended)
    bare = bare_record(event.job_id, event.queue, event.job_name, ended.state if ended else State.WAITING)
    if ended is None:
        return bare
    return ended.record_of(bare)
