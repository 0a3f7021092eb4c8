"""What every task class of an application with the bridge gets in front: the run seam."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from celery import Task
from celery.app.task import get_actual_ignore_result
from celery.exceptions import Ignore, WorkerLostError
from celery.states import STARTED
from kombu.utils import json
from kombu.utils.imports import symbol_by_name

from stratix_kombu.celery.attempt import REJECTED, Attempt, Settling
from stratix_kombu.celery.coroutines import ATTEMPT, OUTCOME, await_coroutines
from stratix_kombu.celery.lost import begins_again_if_lost
from stratix_kombu.celery.meta import is_revoked_unseen
from stratix_kombu.celery.mirror import ADOPTED, is_adopted
from stratix_kombu.celery.panel import WATCHED, telling
from stratix_kombu.celery.plain import is_being_sent, is_next, once_more
from stratix_kombu.celery.publish import DUE, NOT_TRACKED
from stratix_kombu.celery.requests import SERIALIZER
from stratix_kombu.celery.sent_again import as_taken, sent_again, source_of
from stratix_kombu.errors import JobIdTaken
from stratix_kombu.lifecycle.add import add, add_as_taken
from stratix_kombu.lifecycle.one_job import set_progress
from stratix_kombu.lifecycle.outcomes import complete
from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.record import ANY_CLAIM, Claim, Completion, JobRecord
from stratix_kombu.model.stalls import stalled_reason
from stratix_kombu.model.state import Refusal
from stratix_kombu.model.tasks import AGAIN, BY_NAME, TRACKED, attempt_in

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge

logger = logging.getLogger("stratix_kombu.celery")

HOSTED = "stratix_hosted"
"""In a request: the claim that our own worker has made for it."""


OURS = frozenset({TRACKED, DUE, HOSTED, AGAIN, BY_NAME, WATCHED, SERIALIZER})
"""What a task does not see of its request."""


class Hosted(Settling, Protocol):
    """A claim that was made for a request, and the place for its outcome."""

    claim: Claim


def attempt_of(request: Any) -> Attempt | None:
    """The attempt that a request of a task is, if it is tracked."""
    attempt: Attempt | None = getattr(request, ATTEMPT, None)
    return attempt


class TrackedTask:
    """Claims the job before the task starts, and stores its outcome before the tracer goes on."""

    stratix_bridge: Bridge
    Request: Any

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> Any:
        request = self.request  # type: ignore[attr-defined]
        if hasattr(request, OUTCOME):  # done, before its coroutine
            return None
        if not (request.called_directly or request.is_eager) and self._is_job(request):
            begin(self.stratix_bridge, self, request)
        return super().before_start(task_id, args, kwargs)  # type: ignore[misc]

    def _is_job(self, request: Any) -> bool:
        """A message without the bridge's mark, of which several queues have got a copy, is run as it comes."""
        if request.get(TRACKED) is None and not source_of(self.stratix_bridge.celery, request):
            setattr(request, TRACKED, NOT_TRACKED)
            setattr(request, ADOPTED, True)
        return bool(request.get(TRACKED) != NOT_TRACKED)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        attempt = attempt_of(self.request)  # type: ignore[attr-defined]
        if attempt is not None and not attempt.begun:
            return attempt.run(lambda: self._call(args, kwargs))
        return self._call(args, kwargs)

    def _call(self, args: Any, kwargs: Any) -> Any:
        """The project's own ``__call__`` if it has one; else what the tracer would call."""
        request = self.request  # type: ignore[attr-defined]
        own = next(one for one in type(self).__mro__ if "__call__" in vars(one) and one is not TrackedTask)
        if own is Task and not request.called_directly and not request.get("stratix_called"):
            request.stratix_called = True
            return self.run(*args, **kwargs)  # type: ignore[attr-defined]
        return super().__call__(*args, **kwargs)  # type: ignore[misc]

    def start_strategy(self, app: Any, consumer: Any, **options: Any) -> Any:
        own = self.Request
        self.Request = begins_again_if_lost(self.stratix_bridge, symbol_by_name(own))
        try:
            return telling(super().start_strategy, app, consumer, **options)  # type: ignore[misc]
        finally:
            self.Request = own

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        attempt = attempt_of(self.request)  # type: ignore[attr-defined]
        if attempt is None:
            return super().retry(*args, **kwargs)  # type: ignore[misc]
        with attempt.succeeding():
            return super().retry(*args, **kwargs)  # type: ignore[misc]

    def on_replace(self, sig: Any) -> Any:
        attempt = attempt_of(self.request)  # type: ignore[attr-defined]
        if attempt is None:
            return super().on_replace(sig)  # type: ignore[misc]
        with attempt.succeeding():
            return super().on_replace(sig)  # type: ignore[misc]


def track(bridge: Bridge, task: Any) -> None:
    """Put the run seam in front of a registered task's class."""
    cls = type(task)
    if not isinstance(task, TrackedTask):
        task.__class__ = type(cls.__name__, (TrackedTask, cls), {"__module__": cls.__module__})
    task.stratix_bridge = bridge
    await_coroutines(bridge, task)


def begin(bridge: Bridge, task: Any, request: Any) -> None:
    """Claim the job of a request, which is an attempt from now on. Raises Ignore if it is not to run now, and
    WorkerLostError if it must not run again."""
    hosted: Hosted | None = request.get(HOSTED)
    if hosted is not None:
        del request.stratix_hosted
        claim, queue = hosted.claim, hosted.claim.record.queue
        settling: Settling = hosted
    else:
        claim, queue = claim_of(bridge, task, request)
        settling = bridge.claims.settling(queue, claim.token, not _is_watched(bridge, task, request))
    _show(bridge, task, request, claim.record)
    attempt = Attempt(bridge, task, request, queue, claim.token, settling=settling)
    setattr(request, ATTEMPT, attempt)
    if request.get(BY_NAME) and _has_been_lost(claim.record) and bridge.publisher.max_stalled(task.name) == 0:
        _fail_lost(attempt)


def _has_been_lost(record: JobRecord) -> bool:
    """Whether it has run, and its worker was lost. One that has failed for that may be retried by hand."""
    return record.stalled_count > 0 and record.attempts_made == 0


def _fail_lost(attempt: Attempt) -> None:
    """A task that acknowledges early runs once at most: it has failed, as Celery's tracer tells."""
    attempt.begun = True
    try:
        raise WorkerLostError(stalled_reason(0))
    except WorkerLostError as error:
        attempt.failed(error)
        raise


def _is_watched(bridge: Bridge, task: Any, request: Any) -> bool:
    """Whether somebody may look for the result as soon as the task has ended."""
    return bool(request.get(WATCHED)) or is_adopted(request) or bridge.mirror.everything or bridge.is_heard(task)


def claim_of(bridge: Bridge, task: Any, request: Any) -> tuple[Claim, str]:
    """The claim of a request's job, and its queue. Raises Ignore if it is not to run now."""
    marker = request.get(TRACKED)
    queue = marker or source_of(bridge.celery, request)
    job_id = task_job_id(request.id)
    claim = bridge.claims.claim(queue, job_id)
    is_new = marker is None and (claim is Refusal.GONE or claim is Refusal.NOT_WAITING)
    if is_new and bridge.patiently(queue, lambda: adopt(bridge, request, queue, *_known(bridge, job_id))):
        claim = bridge.claims.claim(queue, job_id)
    if isinstance(claim, Refusal):
        logger.info(
            "message of task %s[%s] dropped: %s",
            task.name,
            request.id,
            claim,
            extra={"action": "message_dropped", "job_id": job_id, "queue": queue},
        )
        raise Ignore(f"not to run now: {claim}")
    return claim, queue


def _show(bridge: Bridge, task: Any, request: Any, record: JobRecord) -> None:
    """Make the request what the task expects it to be, and report that it has started."""
    if request.headers:  # without those of the transport
        own = {key: value for key, value in request.headers.items() if key not in OURS}
        request.headers = own or None
    request.eta = request.eta or request.get(DUE)
    is_again = request.get(AGAIN) == attempt_in(vars(request))
    if is_again or record.failed_reason == REJECTED or record.attempts_started > record.attempts_made + 1:
        request.delivery_info = {**(request.delivery_info or {}), "redelivered": True}
    if task.track_started and not get_actual_ignore_result(task, request):
        meta = {"pid": os.getpid(), "hostname": request.hostname}
        told = str(json.dumps(bridge.celery.backend.progress_of(STARTED, meta, request)))
        bridge.mirror.told(request.id, STARTED, meta, request)
        bridge.patiently(record.queue, lambda: set_progress(bridge.engine, record.id, told))


def _known(bridge: Bridge, job_id: str) -> Sequence[JobRecord | None]:
    return bridge.engine.store.queries.get([job_id])


def adopt(bridge: Bridge, request: Any, queue: str, record: JobRecord | None = None) -> bool:
    """Add the job of a message that was sent to a queue without the bridge, as if it had been sent with it; whether
    there is one to be claimed now. One that is not due is sent again when it is. ``record``: of the job of that id, if
    there is one."""
    engine = bridge.engine
    if record is not None and is_being_sent(record):
        complete(engine, [Completion(record.id, ANY_CLAIM, "null")])
    elif record is not None and not is_next(request, record):
        if is_revoked_unseen(record):  # now it is known of which chord it is a part
            bridge.celery.backend.mark_as_revoked(request.id, "revoked", request=request)
        return False
    if bridge.publisher.is_early(request.eta):
        add(engine, [sent_again(bridge, request, queue)])
        return False
    job = as_taken(bridge, request, queue)
    with suppress(JobIdTaken):  # a message of another queue than the job's: it is dropped
        # A message that came twice may have been adopted, run and ended meanwhile: that one stays.
        allowed = bridge.queue.settings.worker.max_stalled_count
        add_as_taken(engine, job if record is None else once_more(job, record, allowed))
    return True


def keep_until_due(bridge: Bridge, request: Any, queue: str) -> None:
    """A task that is no job, and whose message came before its time: the store sends it again then."""
    job = sent_again(bridge, request, queue)
    bridge.patiently(queue, lambda: add(bridge.engine, [job]))


def queue_of(request: Any) -> str:
    """The queue that a message came from, if the message says so: over the default exchange, or a direct one."""
    info = request.delivery_info or {}
    return str(info.get("routing_key") or "")
