"""Waiting for tasks to end, by the store's events, and hearing of their states meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from celery import exceptions, states

from stratix_kombu.celery.meta import TOLD, of_the_request, told_meta
from stratix_kombu.model.message import is_task_message
from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.record import JobRecord
from stratix_kombu.queue.events import QueueEvents

if TYPE_CHECKING:
    from stratix_kombu.celery.results import Results

Meta = dict[str, Any]
OnInterval = Callable[[], Any] | None
Ends = Generator[tuple[str, Meta], None, None]

LOOK_AGAIN_S = 1.0
"""A job may change its queue, or not exist yet: the longest wait for its event before it is read again."""
UNKNOWN_POLL_S = 0.005
UNKNOWN_POLL_MAX_S = 0.2
"""An id that has not been published yet, such as a chord's body, has no events: it is polled, with growing pauses."""


class News:
    """One wait for tasks to end. ``hear`` is called with each metadata of theirs until then; as with Celery's backends
    with none at all, if there is nothing to wait for."""

    def __init__(
        self, backend: Results, task_ids: Iterable[str], hear: Callable[[Any], Any] | None = None, rounds: int = 0
    ) -> None:
        """``rounds``: how often it looks at most, if at all."""
        self._backend = backend
        self._open = {task_job_id(one): str(one) for one in task_ids}
        self._hear = hear
        self._rounds = rounds
        self._news: SimpleQueue[Any] = SimpleQueue()
        self._said: dict[str, Any] = {}
        self._hubs: dict[str, QueueEvents] = {}
        """Those of whose progress it hears."""

    def wait(self, timeout: float | None, interval: float, on_interval: OnInterval) -> Meta:
        """The metadata of the only task, once it has finished. Raises TimeoutError."""
        with closing(self.metas(timeout, interval, on_interval)) as found:
            return next(found)[1]

    def metas(self, timeout: float | None, interval: float, on_interval: OnInterval) -> Ends:
        """Id and metadata of each task as it ends, many read at a time. Raises TimeoutError."""
        begun = told = time.monotonic()
        rounds, pause = 0, UNKNOWN_POLL_S
        try:
            while self._open:
                looked = self._look()
                ended = {job_id: meta for job_id, _, meta in looked if meta["status"] in states.READY_STATES}
                if not rounds and len(ended) == len(looked):
                    self._hear = None
                for job_id, record, meta in looked:
                    self._say(job_id, meta, record)
                    if job_id in ended:
                        yield self._open.pop(job_id), meta
                rounds += 1
                if not self._open or rounds == self._rounds:
                    return
                now = time.monotonic()
                if timeout is not None and now - begun >= timeout:
                    raise exceptions.TimeoutError("The operation timed out.")
                if on_interval and now - told >= interval:
                    told = now
                    on_interval()
                left = LOOK_AGAIN_S if timeout is None else min(max(begun + timeout - now, 0), LOOK_AGAIN_S)
                pause = self._pause([record for job_id, record, _ in looked if job_id not in ended], left, pause)
        finally:
            for hub in self._hubs.values():
                hub.off("progress", self._progressed)
                hub.off("delayed", self._delayed)

    def _look(self) -> list[tuple[str, JobRecord | None, Meta]]:
        """What is kept of each."""
        ids = list(self._open)
        records = self._backend.bridge.engine.store.queries.get(ids)
        return [
            (one, record, self._backend.meta_for(self._open[one], record))
            for one, record in zip(ids, records, strict=True)
        ]

    def _pause(self, records: list[JobRecord | None], left: float, pause: float) -> float:
        """Return when the last of these may have ended; returns how long to pause the next time while it does not exist
        yet. The others are read with it, and at the latest when it is time to look again."""
        record = records[-1]
        if record is None or record.state.finished:  # unknown yet, or ended without a result
            time.sleep(min(left, pause))
            return min(pause * 1.5, UNKNOWN_POLL_MAX_S)
        if self._hear is not None and self._follow(one.queue for one in records if one is not None):
            return pause  # they are read again, so that nothing stored meanwhile is missed
        hub = self._backend.hub(record.queue)
        hub.subscribe(record.id, self._news.put)
        try:
            self._listen(left)
        finally:
            hub.unsubscribe(record.id, self._news.put)
        return UNKNOWN_POLL_S

    def _follow(self, queues: Iterable[str]) -> bool:
        """Hear of progress and retries in these queues, too; whether there was a new one among them."""
        new = set(queues) - self._hubs.keys()
        for queue in new:
            hub = self._backend.hub(queue)
            hub.on("progress", self._progressed)
            hub.on("delayed", self._delayed)
            self._hubs[queue] = hub
        return bool(new)

    def _listen(self, left: float) -> None:
        """Pass on what tasks tell until one has ended, for that many seconds at most."""
        until = time.monotonic() + left
        while left >= 0:
            try:
                news = self._news.get(timeout=left)
            except Empty:
                return
            if not isinstance(news, tuple):  # the end of the task
                return
            self._pass_on(*news)
            left = until - time.monotonic()

    def _pass_on(self, job_id: str, progress: Any) -> None:
        if job_id not in self._open:
            return
        (record,) = self._backend.bridge.engine.store.queries.get([job_id])
        if progress is not None:
            meta = told_meta(self._backend, self._open[job_id], progress)
            if record is not None and is_task_message(record.message):
                meta.update(of_the_request(self._backend, record))
            self._say(job_id, meta)
            return
        meta = self._backend.meta_for(self._open[job_id], record)
        if meta["status"] == states.RETRY:
            self._say(job_id, meta, record)

    def _progressed(self, job: Any, value: Any) -> None:
        if job.id in self._open and isinstance(value, dict) and TOLD in value:
            self._news.put((job.id, value))

    def _delayed(self, job: Any) -> None:
        """Perhaps until its next attempt."""
        if job.id in self._open:
            self._news.put((job.id, None))

    def _say(self, job_id: str, meta: Meta, record: JobRecord | None = None) -> None:
        """Report each state once, unless its content has changed."""
        if self._hear is None or meta["status"] == states.PENDING:
            return
        result = meta["result"]
        content = repr(result) if isinstance(result, BaseException) else result  # each reading makes another error
        attempts = record.attempts_made if record is not None and meta["status"] == states.RETRY else 0
        said = meta["status"], content, attempts
        if said != self._said.get(job_id):
            self._said[job_id] = said
            self._hear(meta)
