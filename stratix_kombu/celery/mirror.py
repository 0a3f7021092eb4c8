"""The configured result backend, beside the job: producers without the bridge look there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any

from celery import states
from celery.app.task import Context

from stratix_kombu.celery.batch import results_in
from stratix_kombu.celery.older import Older
from stratix_kombu.celery.references import JOIN_REFERENCE
from stratix_kombu.model.message import TASK
from stratix_kombu.model.tasks import TRACKED

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge

ADOPTED = "stratix_adopted"
"""Header of the messages of jobs whose producer does not have the bridge."""
_local = threading.local()


class Sending(Enum):
    """How what a thread publishes is sent."""

    TRACKED = "tracked"
    """As jobs."""
    PLAIN = "plain"
    """As Celery alone sends it, for workers with and without the bridge."""


def sending(bridge: Bridge) -> Sending:
    """What is published follows the example of the task that this thread runs, unless a scope says otherwise."""
    said: Sending | None = getattr(_local, "sending", None)
    if said is not None:
        return said
    if bridge.sends_plainly:
        return Sending.PLAIN
    task = bridge.celery.current_worker_task
    return Sending.PLAIN if task is not None and goes_on_plainly(task.request) else Sending.TRACKED


@contextmanager
def sent(how: Sending) -> Iterator[None]:
    """The scope in which it is sent in this way."""
    before, _local.sending = getattr(_local, "sending", None), how
    try:
        yield
    finally:
        _local.sending = before


def is_adopted(request: Any) -> bool:
    """Whether the producer of a request's message does not have the bridge."""
    return request.get(TRACKED) is None or bool(request.get(ADOPTED))


def goes_on_plainly(request: Any) -> bool:
    """Whether what follows a request's task is sent as Celery alone sends it: its producer does not have the bridge, so
    other workers may not have it either, and chords are counted where those look. A join waits for some tasks of an
    earlier release. A permit, which is sent without a mark, runs a handler of a queue."""
    if request.called_directly or request.is_eager or request.task == TASK or not is_adopted(request):
        return False
    return JOIN_REFERENCE not in repr((request.chord, request.chain))


class Mirror:
    """Tells that backend what becomes of a task. With ``everything`` of each one, else of adopted ones."""

    def __init__(self, bridge: Bridge, everything: bool) -> None:
        self._bridge = bridge
        self.everything = everything
        self._older = Older(bridge)

    @property
    def older(self) -> Older | None:
        """The backend, if it may have results from before the bridge was installed; None if not."""
        return self._older or None

    @property
    def older_groups(self) -> Older | None:
        """The same for saved groups, which not every backend keeps."""
        return self._older if self._older.has_groups else None

    def wants(self, request: Any) -> bool:
        """Whether the backend must store the result of a request's task. What is stored by hand comes without one, and
        ``rpc://`` would not know where to send it. Other kinds of request do not tell who has sent the task: those of
        tasks that no worker knows, and of celery-batches."""
        if request is None:
            return self.everything and self.older is not None
        return self.everything or not isinstance(request, Context) or _is_adopted(request)

    @property
    def counting(self) -> Any:
        """The backend, if it counts chords; None if not."""
        previous = self._bridge.previous_backend
        try:
            if previous is not None:
                previous.ensure_chords_allowed()
        except NotImplementedError:
            return None
        return previous

    def told(self, task_id: str, state: str, meta: Any, request: Any, traceback: Any = None) -> None:
        """A state that is not the last one, or that was stored by hand."""
        if self.wants(request) and (previous := self._bridge.previous_backend) is not None:
            previous.store_result(task_id, meta, state, traceback=traceback, request=request)

    def done(self, task_id: str, result: Any, request: Any, store_result: bool, state: str) -> None:
        if request is None or not self.wants(request) or (previous := self._bridge.previous_backend) is None:
            return
        if not _is_adopted(request):
            if store_result and not getattr(request, "ignore_result", False):
                previous.store_result(task_id, result, state, request=request)
            return
        with sent(Sending.PLAIN):  # the last one of a header sends the body
            previous.mark_as_done(task_id, result, _counted(request), store_result, state)

    def failed(self, task_id: str, error: BaseException, traceback: Any, request: Any, store_result: bool) -> None:
        if not self.wants(request) or (previous := self._bridge.previous_backend) is None:
            return
        if _is_adopted(request):
            with sent(Sending.PLAIN):
                previous.mark_as_failure(task_id, error, traceback, _counted(request), store_result, False)
        elif store_result:
            previous.store_result(task_id, error, states.FAILURE, traceback=traceback, request=request)
            for step in getattr(request, "chain", None) or ():
                told = Context(step, **(step.get("options") or {}))
                for job_id, _ in results_in(step):
                    previous.store_result(job_id, error, states.FAILURE, traceback=traceback, request=told)

    def never_sent(self, task_id: str, error: BaseException, traceback: Any) -> None:
        """The body of a chord that has failed."""
        if self.everything and (previous := self._bridge.previous_backend) is not None:
            previous.store_result(task_id, error, states.FAILURE, traceback=traceback)

    def revoked(self, task_id: str, reason: str, request: Any, store_result: bool, state: str) -> None:
        if self.wants(request) and (previous := self._bridge.previous_backend) is not None:
            with sent(Sending.PLAIN):
                previous.mark_as_revoked(task_id, reason, _counted(request), store_result, state)

    def revoked_unknown(self, task_id: str, reason: str, state: str) -> None:
        """Of a task that the store does not know: who has sent it may not have the bridge."""
        if (older := self.older) is not None:
            older.mark_as_revoked(task_id, reason, state)


def _is_adopted(request: Any) -> bool:
    return isinstance(request, Context) and not request.is_eager and is_adopted(request)


def _counted(request: Any) -> Any:
    """The request, if there is one, without a chord for which a join waits."""
    chord = getattr(request, "chord", None)
    if chord is None or "task" in chord:
        return request
    return Context(vars(request), chord=None)
