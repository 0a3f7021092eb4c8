"""The configured result backend, beside the job: producers without the bridge look there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from celery import states
from celery.app.task import Context
from celery.backends.rpc import RPCBackend

from stratix_kombu.celery.batch import results_in
from stratix_kombu.model.tasks import TRACKED

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge

ADOPTED = "stratix_adopted"
"""Header of messages whose producer does not have the bridge, or whose task follows one of those."""
_local = threading.local()


JOIN_REFERENCE = "stratix_join"
"""In place of the chord of a task: the join that waits for it."""


def is_adopting() -> bool:
    """Whether what this thread publishes follows a task whose producer does not have the bridge."""
    return bool(getattr(_local, "depth", 0))


def is_kept(chord: Any) -> bool:
    """Whether a chord is counted by that backend, and no join waits for it."""
    return is_adopting() and chord is not None and chord == getattr(_local, "chord", None)


@contextmanager
def adopting(yes: bool = True, chord: Any = None) -> Iterator[None]:
    """Results of what is published within this scope are stored where its producer expects them; ``chord`` is its
    task's."""
    before = getattr(_local, "depth", 0), getattr(_local, "chord", None)
    if yes:
        _local.depth, _local.chord = before[0] + 1, chord
    try:
        yield
    finally:
        _local.depth, _local.chord = before


class Mirror:
    """Tells that backend what becomes of a task. With ``everything`` of each one, else of adopted ones."""

    def __init__(self, bridge: Bridge, everything: bool) -> None:
        self._bridge = bridge
        self.everything = everything

    @property
    def older(self) -> Any:
        """The backend, if it may have results from before the bridge was installed; None if not. ``rpc://`` sends each
        result to its producer as a message, and keeps none."""
        previous = self._bridge.previous_backend
        return None if isinstance(previous, RPCBackend) else previous

    @property
    def older_groups(self) -> Any:
        """The same for saved groups, which not every backend keeps."""
        return self.older if hasattr(self.older, "_save_group") else None

    def forget(self, task_id: str) -> None:
        if self.older is not None:
            with suppress(NotImplementedError):  # not every backend can
                self.older.forget(task_id)

    def wants(self, request: Any) -> bool:
        """Whether the backend must store the result of a request's task."""
        if not isinstance(request, Context) or request.is_eager:
            return False
        return self.everything or self._is_adopted(request)

    def _is_adopted(self, request: Any) -> bool:
        return request.get(TRACKED) is None or bool(request.get(ADOPTED))

    def told(self, task_id: str, state: str, meta: Any, request: Any, traceback: Any = None) -> None:
        """A state that is not the last one."""
        previous = self._bridge.previous_backend
        if previous is not None and self.wants(request):
            previous.store_result(task_id, meta, state, traceback=traceback, request=request)

    def done(self, task_id: str, result: Any, request: Any, store_result: bool, state: str) -> None:
        previous = self._bridge.previous_backend
        if previous is None or not self.wants(request):
            return
        if not self._is_adopted(request):
            if store_result and not request.ignore_result:
                previous.store_result(task_id, result, state, request=request)
            return
        with adopting():  # the last one of a header sends the body
            previous.mark_as_done(task_id, result, _counted(request), store_result, state)

    def failed(self, task_id: str, error: BaseException, traceback: Any, request: Any, store_result: bool) -> None:
        previous = self._bridge.previous_backend
        if previous is None or not self.wants(request):
            return
        if self._is_adopted(request):
            with adopting():
                previous.mark_as_failure(task_id, error, traceback, _counted(request), store_result, False)
        elif store_result:
            previous.store_result(task_id, error, states.FAILURE, traceback=traceback, request=request)
            for step in request.chain or ():
                told = Context(step, **(step.get("options") or {}))
                for job_id, _ in results_in(step):
                    previous.store_result(job_id, error, states.FAILURE, traceback=traceback, request=told)

    def revoked(self, task_id: str, reason: str, request: Any, store_result: bool, state: str) -> None:
        previous = self._bridge.previous_backend
        if previous is not None and self.wants(request):
            with adopting():
                previous.mark_as_revoked(task_id, reason, _counted(request), store_result, state)


def _counted(request: Any) -> Any:
    """The request without a chord for which a join waits."""
    if request.chord is None or "task" in request.chord:
        return request
    return Context(vars(request), chord=None)
