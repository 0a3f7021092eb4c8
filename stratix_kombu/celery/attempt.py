"""One run of a tracked task: from its claim to its outcome, with everything that follows added in the same step."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celery import group, signature
from celery.exceptions import Ignore, Reject, Retry
from kombu.utils import json

from stratix_kombu.celery.collect import Collector, collecting, results_in
from stratix_kombu.errors import InvalidPayload, RateLimited
from stratix_kombu.lifecycle.complete import complete
from stratix_kombu.lifecycle.fail import fail
from stratix_kombu.lifecycle.hand_back import hand_back
from stratix_kombu.lifecycle.hand_over import hand_over
from stratix_kombu.lifecycle.postpone import postpone
from stratix_kombu.logs import InJob
from stratix_kombu.model.record import Completion, Failure, HandOver, Held, NewJob
from stratix_kombu.options import milliseconds

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge

logger = logging.getLogger("stratix_kombu.celery")

MAX_REASON = 4_000
MAX_STACKTRACE = 16_000


def reason_of(error: BaseException) -> str:
    text = str(error)
    name = type(error).__name__
    reason = f"{name}: {text}" if text else name
    return reason.encode(errors="backslashreplace").decode()[:MAX_REASON]


def trace_of(error: BaseException) -> str:
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return str(json.dumps(["".join(lines)[-MAX_STACKTRACE:]]))


def error_text(backend: Any, error: BaseException) -> str:
    """The error as JSON, as Celery's result backends keep it."""
    try:
        return str(json.dumps(backend.prepare_exception(error, serializer="json")))
    except (TypeError, ValueError):
        plain = {"exc_type": type(error).__name__, "exc_module": type(error).__module__, "exc_message": [str(error)]}
        return str(json.dumps(plain))


class Attempt:
    """The claim of one task request, until it is settled."""

    def __init__(self, bridge: Bridge, task: Any, request: Any, queue: str, token: str, adopted: bool) -> None:
        self._bridge = bridge
        self._task = task
        self._request = request
        self.job_id: str = request.id
        self.queue = queue
        self.token = token
        self.adopted = adopted
        """Its producer does not have the bridge and looks for results in the backend of the configuration."""
        self.begun = False
        self.settled = False
        self.stored: tuple[str, Any] | None = None
        """A final state that the task has stored by itself, before it raised ``Ignore``."""
        self._successors: tuple[NewJob, ...] = ()
        self._extra: list[NewJob] = []

    # -- what the task asks for while it runs -----------------------------------------------------

    @contextmanager
    def succeeding(self) -> Iterator[None]:
        """What is published within goes on with the job under its id: a retry, a replacement."""
        with collecting() as collector:
            try:
                yield
            finally:
                collector.show_what_is_carried(self.job_id)
                self._successors = collector.finish(self.queue)

    @contextmanager
    def continuing(self) -> Iterator[Collector]:
        """What is published within is added when the task ends, in the same step."""
        with collecting(self.job_id) as collector:
            try:
                yield collector
            finally:
                self._extra += collector.finish(self.queue)

    # -- running ----------------------------------------------------------------------------------

    def run(self, call: Any) -> Any:
        """Call the task and store its outcome. Raises what the task raises, and Ignore if the lease was lost."""
        self.begun = True
        try:
            return self._run(call)
        finally:
            if not self.settled:
                # What is to follow it cannot be read, say: then its lease runs out, and recovery deals with it.
                self._bridge.claims.drop(self.queue, self.token)

    def _run(self, call: Any) -> Any:
        try:
            with InJob(self.job_id, self.queue, self._task.name, self._request.retries + 1):
                value = call()
        except Retry as retry:
            self._hand_over(retry.exc or retry)
            raise
        except Reject as reject:
            self._reject(reject)
            raise
        except RateLimited as limited:
            held = [Held(self.job_id, self.token)]
            hold_ms = milliseconds(limited.retry_after, "'retry_after'")
            self._settle(lambda: postpone(self._bridge.engine, self.queue, held, hold_ms))
            raise Ignore("its queue is held") from limited
        except Ignore:
            self._ignored()
            raise
        except Exception as error:
            self.failed(error)
            raise
        if self._successors:
            self._hand_over(None)
        else:
            self._succeeded(value)
        return value

    def _succeeded(self, value: Any) -> None:
        try:
            result = self._bridge.celery.backend.result_text(value) if self._wants_result() else "null"
        except Exception as problem:
            error = InvalidPayload(f"the result of {self._task.name} cannot be kept: {problem}")
            self.failed(error)
            raise error from problem
        with self.continuing():
            self._continue(value)
        self._end(Completion(self.job_id, self.token, result, tuple(self._extra), self._trail()))
        request = self._request
        request.callbacks = request.chain = None
        if not self.adopted:
            request.chord = None

    def failed(self, error: BaseException) -> None:
        """The task has failed for good: its errbacks are called, what was to follow fails with it."""
        backend = self._bridge.celery.backend
        with self.continuing() as collector:
            backend.call_errbacks(self._request, error, None)
            for job_id, name in self._carried():
                collector.fail(job_id, name)
        self._end(
            Failure(
                self.job_id,
                self.token,
                reason_of(error),
                trace_of(error),
                error=error_text(backend, error),
                then=tuple(self._extra),
            )
        )

    def _hand_over(self, error: BaseException | None) -> None:
        reason, trace = ("", "") if error is None else (reason_of(error), trace_of(error))
        self._end(HandOver(self.job_id, self.token, (*self._successors, *self._extra), reason, trace))

    def _ignored(self) -> None:
        backend = self._bridge.celery.backend
        if self._successors:
            self._hand_over(None)
        elif self.stored and self.stored[0] != "SUCCESS":
            state, error = self.stored
            text = str(json.dumps(error))
            self._end(Failure(self.job_id, self.token, f"{state}: {error}"[:MAX_REASON], error=text))
        else:
            result = backend.result_text(self.stored[1]) if self.stored else "null"
            self._end(Completion(self.job_id, self.token, result))

    def _reject(self, reject: Reject) -> None:
        if not reject.requeue:
            self.failed(reject.reason if isinstance(reject.reason, BaseException) else reject)
            return
        # The store sends it again; the message itself must not come back as well.
        self._settle(lambda: hand_back(self._bridge.engine, [Held(self.job_id, self.token)]))
        raise Ignore("given back")

    # -- what follows -----------------------------------------------------------------------------

    def _continue(self, value: Any) -> None:
        """Callbacks and the next step of the chain, as Celery's tracer would publish them."""
        app, request = self._bridge.celery, self._request
        root_id = request.root_id or self.job_id
        inherit = app.conf.task_inherit_parent_priority
        common: dict[str, Any] = {"parent_id": self.job_id, "root_id": root_id}
        if inherit and (request.delivery_info or {}).get("priority") is not None:
            common["priority"] = request.delivery_info["priority"]
        plain = []
        for callback in request.callbacks or ():
            callback = signature(callback, app=app)
            if isinstance(callback, group):
                callback.apply_async((value,), **common)
            else:
                plain.append(callback)
        if len(plain) == 1:
            plain[0].apply_async((value,), **common)
        elif plain:
            group(plain, app=app).apply_async((value,), **common)
        if request.chain:
            step = signature(request.chain[-1], app=app)
            step.apply_async((value,), chain=list(request.chain[:-1]), **common)

    def _trail(self) -> str:
        """What the task has published, for ``AsyncResult.children``; kept as the data of its job."""
        children = [one.as_tuple() for one in self._request.children]
        return str(json.dumps({"children": children})) if children else ""

    def _carried(self) -> Iterator[tuple[str, str]]:
        for step in self._request.chain or ():
            yield from results_in(step)

    def _wants_result(self) -> bool:
        ignored = self._request.ignore_result
        return not (self._task.ignore_result if ignored is None else ignored)

    # -- storing ----------------------------------------------------------------------------------

    def _end(self, outcome: Completion | Failure | HandOver) -> None:
        engine = self._bridge.engine
        if isinstance(outcome, Completion):
            self._settle(lambda: complete(engine, [outcome]))
        elif isinstance(outcome, Failure):
            self._settle(lambda: fail(engine, [outcome]))
        else:
            self._settle(lambda: hand_over(engine, [outcome]))

    def _settle(self, step: Any) -> None:
        try:
            lost = self._bridge.claims.is_lost(self.token)
            accepted = not lost and self._bridge.settle(self.job_id, self.queue, step)
        finally:
            self._bridge.claims.drop(self.queue, self.token)
        self.settled = True
        if not accepted:
            raise Ignore("the lease was lost: another worker has taken the job over")
