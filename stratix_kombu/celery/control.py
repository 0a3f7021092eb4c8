"""``app.control`` with a ``revoke`` that works on every transport: the store ends the job, wherever it waits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery.exceptions import TaskRevokedError

from stratix_kombu.celery.attempt import error_text, reason_of
from stratix_kombu.celery.batch import current
from stratix_kombu.celery.bridge import Bridge
from stratix_kombu.celery.meta import is_celerys
from stratix_kombu.celery.publish import RESULT
from stratix_kombu.lifecycle.outcomes import fail
from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.record import ANY_CLAIM, UNCLAIMED, Failure
from stratix_kombu.model.state import State

_WITHOUT_MESSAGE = (State.DELAYED, State.BLOCKED)


def control_class(bridge: Bridge, base: type[Any]) -> type[Any]:
    """The application's own control class, with our ``revoke`` in front."""

    class Control(base):
        def revoke(
            self, task_id: Any, destination: Any = None, terminate: bool = False, signal: str = "SIGTERM", **kwargs: Any
        ) -> Any:
            several = isinstance(task_id, (list, tuple, set, frozenset))
            ids = _not_failing([str(one) for one in task_id] if several else [str(task_id)])
            ids = revoke_jobs(bridge, ids, terminate)
            if not ids:
                return None
            with bridge.celery.connection_for_write() as connection:
                reachable = connection.supports_exchange_type("fanout")
            if reachable:
                return super().revoke(ids, destination, terminate, signal, **kwargs)
            return None

        def purge(self, connection: Any = None) -> int:
            messages: int = super().purge(connection)
            return max(messages, purge_jobs(bridge, bridge.celery.amqp.queues.consume_from))

        discard_all = purge

        def terminate(self, task_id: Any, destination: Any = None, signal: str = "SIGTERM", **kwargs: Any) -> Any:
            return self.revoke(task_id, destination, True, signal, **kwargs)

    return Control


def purge_jobs(bridge: Bridge, queues: Iterable[str]) -> int:
    """Remove the jobs whose messages wait in the broker's queues: they would be sent again. How many."""
    return sum(bridge.queue.get_queue(queue).drain() for queue in queues)


def _not_failing(ids: list[str]) -> list[str]:
    """Without those that fail in the step that is being made: Celery revokes the tasks of a chord's group body after it
    has failed them, and workers that heard of it before the store did would see them as revoked."""
    batch = current()
    if batch is None:
        return ids
    failing = {job.id for job in batch.jobs if job.vacant}
    return [job_id for job_id in ids if task_job_id(job_id) not in failing]


def revoke_jobs(bridge: Bridge, ids: list[str], terminate: bool) -> list[str]:
    """Cancel jobs that have not started; with ``terminate`` also running ones, whose results are then rejected. Returns
    the ids that mean something to Celery workers: to them the id of a job of ``queue.process`` is a permit's, with
    which another job may be running."""
    records = bridge.engine.store.queries.get([task_job_id(job_id) for job_id in ids])
    token = ANY_CLAIM if terminate else UNCLAIMED
    error = TaskRevokedError("terminated" if terminate else "revoked")
    chosen = [
        Failure(record.id, token, reason_of(error), error=error_text(bridge.celery.backend, error))
        for record in records
        if record is not None and not record.state.finished and record.name != RESULT
    ]
    if chosen:
        stale = fail(bridge.engine, chosen).stale
        waiting = {record.id for record in records if record is not None and record.state in _WITHOUT_MESSAGE}
        _tell(bridge, [one.job_id for one in chosen if one.job_id in waiting and one.job_id not in stale], terminate)
    return [job_id for job_id, record in zip(ids, records, strict=True) if record is None or is_celerys(record)]


def _tell(bridge: Bridge, ids: list[str], terminate: bool) -> None:
    """Celery's event, of tasks whose message no worker has seen or will see: where the project has events."""
    conf = bridge.celery.conf
    if not ids or not (conf.worker_send_task_events or conf.task_send_sent_event):
        return
    with bridge.celery.events.default_dispatcher() as dispatcher:
        for job_id in ids:
            dispatcher.send("task-revoked", uuid=job_id, terminated=terminate, signum=None, expired=False)
