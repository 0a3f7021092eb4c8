"""From the arguments of ``add`` to a job that the store accepts: validated, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stratix_kombu.config.options import JobOptions, QueueOptions, snake_keys
from stratix_kombu.drivers.native import message_of
from stratix_kombu.errors import ConfigurationError, PayloadTooLarge, StratixError
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.codec import encode
from stratix_kombu.model.names import check_job_name, new_id, new_ids
from stratix_kombu.model.record import NewJob
from stratix_kombu.model.tasks import is_task
from stratix_kombu.worker.backoffs import Backoffs


class NewJobs:
    """Makes the jobs of one queue. Every method raises as ``Queue.add``."""

    def __init__(
        self, engine: Engine, queue: str, options: QueueOptions, backoffs: Backoffs, is_handled: Callable[[], bool]
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._options = options
        self._backoffs = backoffs
        self._is_handled = is_handled
        """Whether this process has a handler of the queue."""

    def make(self, name: Any, data: Any, given: Mapping[str, Any], own_id: str = "") -> NewJob:
        """The job of one call of ``add``; ``name`` may be a Celery task. ``own_id`` was made for it, if one was."""
        own_id = own_id or new_id()
        if is_task(name):
            return self._of_task(name, data, given, own_id)
        check_job_name(name)
        text = "null" if data is None else self._encode(name, data)
        options = self._options.default_job_options
        if given:
            options = JobOptions.parse(given, f"add({name!r}) on queue {self._queue!r}", options)
            if options.backoff is not None:
                self._backoffs.remember(options.backoff, self._engine.store.shared, self._is_handled())
        new = options.new_job(own_id, self._queue, name, text)
        return replace(new, dead_letter=self._options.dead_letter) if self._options.dead_letter else new

    def of_bulk(self, jobs: Sequence[Mapping[str, Any]]) -> list[NewJob]:
        """The jobs of one call of ``add_bulk``; errors name the index."""
        ids = new_ids(len(jobs))
        return [self._of_bulk(at, job, own_id) for at, (job, own_id) in enumerate(zip(jobs, ids, strict=True))]

    def _of_bulk(self, index: int, job: Mapping[str, Any], own_id: str) -> NewJob:
        if not (type(job) is dict or isinstance(job, Mapping)) or "name" not in job:
            raise ConfigurationError(f"add_bulk, job {index}: must be a mapping with 'name', not {job!r}")
        if not job.keys() <= {"name", "data", "opts"}:
            snake_keys(job, ("name", "data", "opts"), f"add_bulk, job {index}")
        try:
            return self.make(job["name"], job.get("data"), job.get("opts") or {}, own_id)
        except StratixError as problem:
            # The error keeps its class and attributes; only its text says which job it was.
            problem.args = (f"add_bulk, job {index}: {problem}",)
            raise

    def _of_task(self, task: Any, data: Any, given: Mapping[str, Any], own_id: str) -> NewJob:
        where = f"add({task.name!r}) on queue {self._queue!r}"
        options = JobOptions.parse(given, where, replace(self._options.default_job_options, attempts=1, backoff=None))
        if options.attempts != 1 or options.backoff is not None:
            raise ConfigurationError(
                f"{where}: a Celery task has its own number of retries (max_retries, autoretry_for): leave out "
                "'attempts' and 'backoff'"
            )
        new = options.new_job(own_id, self._queue, task.name, "null")
        message, tracked = message_of(task, data, new, self._engine)
        size = len(message.encode())
        if size > self._options.max_payload_bytes:
            raise PayloadTooLarge(f"the message of task {task.name!r}", size, self._options.max_payload_bytes)
        stalls = None if task.acks_late else 0
        return replace(new, message=message, forward=not tracked, max_stalled=stalls if tracked else None, group="")

    def _encode(self, name: str, data: Any) -> str:
        return encode(data, f"the data of job {name!r} for queue {self._queue!r}", self._options.max_payload_bytes)
