"""Tasks whose process of Celery's pool was lost, and that say ``reject_on_worker_lost``.

Celery's main process gives the message of such a task back, to have it run again at once. It would be dropped: the lost
process has claimed the job, and the claim lasts as long as its lease. So the main process ends the claim, which counts
as a lease that has ended, and the store sends the job's message again. The one that was to be given back is
acknowledged: else there would be two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import WorkerLostError
from celery.worker import state as worker_state
from celery.worker.request import Request

from stratix_kombu.celery.publish import NOT_TRACKED
from stratix_kombu.celery.sent_again import source_of
from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.recover import give_up
from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.tasks import TRACKED

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge

_LOST = (WorkerLostError, SystemExit, KeyboardInterrupt)
"""What Celery hears once the task does not run any more: its process is gone, or will be, since the task has raised
one of the last two. At a hard time limit the process still runs."""


def begins_again_if_lost(bridge: Bridge, own: type[Request]) -> type[Request]:
    """The class of a task's requests, which does that; ``own``: that which the task has."""

    class Noticing(own):
        stratix_lost = False

        def on_failure(self, exc_info: Any, *args: Any, **options: Any) -> Any:
            error = exc_info.exception
            self.stratix_lost = isinstance(error.exc if isinstance(error, ExceptionWithTraceback) else error, _LOST)
            return super().on_failure(exc_info, *args, **options)

        def reject(self, requeue: bool = False) -> None:
            if requeue and self.stratix_lost and not self.acknowledged and _begins_again(bridge, self):
                acknowledge = self.on_ack
                self.on_reject = lambda logger, errors, requeue: acknowledge(logger, errors)
            super().reject(requeue)

    Noticing.__name__ = Noticing.__qualname__ = own.__name__
    return Noticing


def _begins_again(bridge: Bridge, request: Request) -> bool:
    """End the claim of a request whose process is lost; whether the store sees to its job now. A worker that stops
    cold hands back all of its claims at the end, and none counts as a lease that has ended."""
    queue = request.request_dict.get(TRACKED) or source_of(bridge.celery, request)
    if not queue or queue == NOT_TRACKED or worker_state.should_terminate:
        return False
    engine, job_id = bridge.engine, task_job_id(request.id)
    try:
        held = [one for one in engine.store.queries.held(queue, bridge.claims.worker) if one.job_id == job_id]
        # Only then: who has claimed it before the look at the store has its request here until it ends.
        if not held or _is_here_again(request):
            return False
        give_up(engine, held, bridge.queue.settings.worker.max_stalled_count)
    except Unavailable as problem:
        engine.report(queue, problem, "settle_failed")  # the lease ends by itself
        return False
    return True


def _is_here_again(request: Request) -> bool:
    """Whether this worker has another message of the task: the claim may be that of a process that runs it."""
    return any(one.id == request.id and one is not request for one in tuple(worker_state.reserved_requests))
