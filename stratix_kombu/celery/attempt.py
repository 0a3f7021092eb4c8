"""One run of a tracked task: from its claim to its outcome, with everything that follows added in the same step."""

from __future__ import annotations

import logging
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from billiard.einfo import ExceptionInfo
from celery import group, signals, signature
from celery.backends.base import EXCEPTION_ABLE_CODECS
from celery.exceptions import Ignore, Reject, Retry, TaskRevokedError
from celery.states import READY_STATES, RETRY, SUCCESS
from celery.utils.serialization import get_pickleable_exception
from kombu.exceptions import EncodeError
from kombu.utils import json

from stratix_kombu.celery.batch import Batch, Continuation, results_in, within
from stratix_kombu.celery.compat import call_errbacks, errbacks_of
from stratix_kombu.celery.mirror import Sending, goes_on_plainly, is_adopted, sent
from stratix_kombu.celery.plain import went_on
from stratix_kombu.celery.requests import without_chain
from stratix_kombu.config.options import milliseconds
from stratix_kombu.drivers.rest import LONG, Rest, next_of
from stratix_kombu.errors import PayloadTooLarge, RateLimited
from stratix_kombu.lifecycle.one_job import set_data
from stratix_kombu.lifecycle.outcomes import complete, fail, hand_over, postpone
from stratix_kombu.logs import InJob
from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.record import ANY_CLAIM, Change, Completion, Failure, HandOver, Held, NewJob

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge

logger = logging.getLogger("stratix_kombu.celery")

REJECTED = "Reject: deliver it again"
"""The reason of an attempt that raised ``Reject(requeue=True)``."""
NO_RESULT = '{"no_result":true}'
"""Data of a task that finished without a visible result: it raised ``Ignore``, or its result is ignored."""
RETRIED_FOR = "retried_for"
"""In the data of a task that will be tried again: the error of the last attempt, or '' if it gave none."""
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


def told_trace(trace: Any) -> str:
    """The same of a traceback that is told by somebody else, or of None."""
    return str(json.dumps([str(trace)])) if trace else ""


def error_text(backend: Any, error: BaseException) -> str:
    """The error as JSON, as Celery's result backends store it: written by the result serializer, if that can."""
    try:
        if backend.serializer in EXCEPTION_ABLE_CODECS:
            return str(backend.result_text(backend.prepare_exception(error)))
        return str(json.dumps(backend.prepare_exception(error, serializer="json")))
    except Exception:  # whatever a serializer raises
        plain = {"exc_type": type(error).__name__, "exc_module": type(error).__module__, "exc_message": [str(error)]}
        return str(json.dumps(plain))


def as_told(error: BaseException) -> BaseException:
    """The error as Celery tells everybody of it: itself, if it can be pickled, else a base of it that can, else a
    wrapper with its text."""
    told: BaseException = get_pickleable_exception(error)
    return told if told.__traceback__ is not None else told.with_traceback(error.__traceback__)


def send_errbacks(
    backend: Any, request: Any, errbacks: list[Any], error: BaseException, trace: Any
) -> Exception | None:
    """Send these errbacks of a task that fails. Returns what is raised if one cannot be sent, because of its arguments
    or its serializer, for example: those before it are sent, and the task still fails with its own error."""
    try:
        call_errbacks(backend, request, errbacks, error, trace)
    except Exception as problem:
        logger.exception(
            "an errback of task %s cannot be sent, nor those after it",
            request.id,
            extra={"action": "errback_unsent", "job_id": task_job_id(request.id)},
        )
        return problem
    return None


def tell_internal_error(task: Any, request: Any, problem: Exception) -> None:
    """The signal for what was raised outside of a task itself, as Celery's tracer sends it."""
    info = ExceptionInfo((type(problem), problem, problem.__traceback__))
    about = {"args": request.args, "kwargs": request.kwargs, "request": vars(request), "einfo": info}
    signals.task_internal_error.send(
        sender=task, task_id=request.id, exception=problem, traceback=problem.__traceback__, **about
    )


def ended_as(backend: Any, job_id: str, token: str, state: str, meta: Any, trace: Any = None) -> Completion | Failure:
    """The outcome of a task whose final state was stored by hand; ``meta`` is encoded as backends do it."""
    if state == "SUCCESS":
        return Completion(job_id, token, backend.result_text(meta), data="null")
    try:
        error = backend.exception_to_python(meta)
    except Exception:  # it is not an error
        error = None
    if not isinstance(error, BaseException):
        error = TaskRevokedError(*([] if meta is None else [meta])) if state == "REVOKED" else Exception(meta)
    reason = f"{state}: {reason_of(error)}"[:MAX_REASON]
    return Failure(job_id, token, reason, told_trace(trace), error=error_text(backend, error))


class Settling(Protocol):
    """Where the outcome of a task goes: each host has a way of its own to the store."""

    def call(self, function: Callable[[], Any]) -> Any:
        """Call the task itself; a host may end it meanwhile, by an exception that is raised in it."""

    def settle(self, job_id: str, step: Callable[[], Change], success: Completion | None) -> bool:
        """Take the step that stores the outcome; whether the lease was held. A ``success`` after which nothing is to be
        sent may be stored a moment later, by the host."""

    def drop(self) -> None:
        """The attempt ends without an outcome: its lease expires, and recovery deals with it."""


class Attempt:
    """The claim of one task request, until it is settled."""

    def __init__(self, bridge: Bridge, task: Any, request: Any, queue: str, token: str, *, settling: Settling) -> None:
        self._bridge = bridge
        self._task = task
        self._request_of = weakref.ref(request)
        self.job_id = task_job_id(request.id)
        self.queue = queue
        self.token = token
        self.adopted = is_adopted(request)
        """Its producer does not have the bridge and looks for results in the backend of the configuration."""
        self._is_plain = goes_on_plainly(request)
        self._sending = Sending.PLAIN if self._is_plain else Sending.TRACKED
        """How what follows is sent."""
        self._settling = settling
        self.begun = False
        self.settled = False
        self.stored: tuple[str, Any, Any] | None = None
        """A final state that the task has stored itself, its result and traceback: what it ends with if it raises
        ``Ignore``. As with Celery's backends, success is not replaced by any other end."""
        self._successors: tuple[NewJob, ...] = ()
        self._extra: list[NewJob] = []
        self._after: list[Callable[[], object]] = []

    @property
    def request(self) -> Any:
        """The request, which holds its attempt: a cycle would leave both, and their message, to the collector."""
        return self._request_of()

    # -- what the task asks for while it runs -----------------------------------------------------

    @contextmanager
    def succeeding(self) -> Iterator[None]:
        """What is published within this scope continues the job under its id: a retry, a replacement."""
        with sent(self._sending), within(Batch()) as batch:
            try:
                yield
            finally:
                batch.show_what_is_carried(self.job_id)
                self._successors = batch.finish(self.queue)
                self._after += batch.after

    @contextmanager
    def continuing(self) -> Iterator[Continuation]:
        """What is published within is added when the task ends, in the same step."""
        with sent(self._sending), within(Continuation(self.job_id)) as batch:
            try:
                yield batch
            finally:
                self._extra += batch.finish(self.queue)
                self._after += batch.after

    def store(self, state: str, meta: Any, trace: Any) -> None:
        """The task stores a state itself; ``meta`` is encoded as backends do it."""
        self.stored = (state, meta, trace) if state in READY_STATES else None

    def stored_success(self) -> tuple[str, Any, Any] | None:
        """The success that it has stored itself, if it has."""
        return self.stored if self.stored is not None and self.stored[0] == SUCCESS else None

    # -- running ----------------------------------------------------------------------------------

    def run(self, call: Any) -> Any:
        """Call the task and store its outcome. Raises what the task raises, and Ignore if the lease was lost."""
        self.begun = True
        try:
            return self._run(call)
        finally:
            if not self.settled:
                # Its continuation cannot be read, for example: then its lease expires, and recovery handles it.
                self._settling.drop()
            del self._settling  # it may hold the request

    def _run(self, call: Any) -> Any:
        try:
            with InJob(self.job_id, self.queue, self._task.name, self.request.retries + 1):
                value = self._settling.call(call)
        except Retry as retry:
            if retry.sig is None and not self._successors:
                self._say_retry(retry)
            else:
                self._hand_over(retry)
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
        wanted = self._wants_result()
        try:
            kept = wanted or self.request.chord  # a chord gets the values of tasks that keep none, too
            stored = self.stored_success() if wanted else None
            result = self._bridge.celery.backend.result_text(stored[1] if stored else value) if kept else "null"
        except EncodeError as problem:
            self.failed(problem)
            raise
        except Exception as problem:
            error = EncodeError(problem)
            self.failed(error)
            raise error from problem
        try:
            if self.request.callbacks or self.request.chain:
                with self.continuing():
                    self._continue(value)
        except (EncodeError, PayloadTooLarge) as problem:  # what follows cannot be sent
            self._extra.clear()
            self._after.clear()
            self.failed(problem)
            raise
        # What its data says is over: see ``celery.plain``, and RETRIED_FOR.
        nothing = "null" if self.adopted or self.request.retries else ""
        trail = (self._trail() or nothing) if wanted else NO_RESULT
        request = self.request
        # The next one has what is behind it: else each task of a chain would keep all those behind itself.
        is_long = isinstance(request.chain, Rest) and len(request.chain) >= LONG
        message = without_chain(request, self.queue) if is_long and wanted and not self.adopted else ""
        self._end(Completion(self.job_id, self.token, result, tuple(self._extra), trail, message))
        request.callbacks = request.chain = None
        if not self.adopted:
            request.chord = None

    def failed(self, error: BaseException) -> None:
        """The task has failed for good: its continuations fail with it, and errbacks that are tasks are added. Errbacks
        that are called here find the failure stored."""
        backend, error = self._bridge.celery.backend, as_told(error)
        called, sent = errbacks_of(backend, self.request)
        trail = self._trail()  # as with Celery, the errbacks are none of its children
        with self.continuing() as batch:
            problem = send_errbacks(backend, self.request, sent, error, "")
            for job_id, name in self._carried():
                batch.fail(job_id, name)
        if trail:
            set_data(self._bridge.engine, self.job_id, trail)
        text, reason = error_text(backend, error), reason_of(error)
        _, behind = self._bridge.publisher.carried(self.request.chain or ())
        if behind:
            trace = trace_of(error)
            failures = [Failure(job_id, ANY_CLAIM, reason, trace, error=text) for job_id in behind]
            self._after.append(lambda: fail(self._bridge.engine, failures))
        self._end(Failure(self.job_id, self.token, reason, trace_of(error), error=text, then=tuple(self._extra)))
        if stored := self.stored_success():
            backend.store_result(self.request.id, stored[1], SUCCESS, request=self.request)
        if called:
            told = ExceptionInfo((type(error), error, error.__traceback__)).traceback
            call_errbacks(backend, self.request, called, error, told)
        if problem is not None:
            tell_internal_error(self._task, self.request, problem)

    def _hand_over(self, retry: Retry | None) -> None:
        if self._is_plain:
            then = (*self._successors, *self._extra)
            self._end(Completion(self.job_id, self.token, "null", then, went_on(self.request)))
            return
        if retry is None:
            self._end(HandOver(self.job_id, self.token, (*self._successors, *self._extra)))
            return
        text = "" if retry.exc is None else error_text(self._bridge.celery.backend, retry.exc)
        told = json.dumps({RETRIED_FOR: text})
        again = (replace(one, data=told) if one.id == self.job_id else one for one in self._successors)
        reason, trace = reason_of(retry.exc or retry), trace_of(retry)
        self._end(HandOver(self.job_id, self.token, (*again, *self._extra), reason, trace))

    def _say_retry(self, retry: Retry) -> None:
        """It has raised one that it made itself, and sends nothing: RETRY is the last state that is known of it."""
        told = ExceptionInfo((type(retry), retry, retry.__traceback__)).traceback
        self._bridge.celery.backend.store_result(self.request.id, retry.exc, RETRY, told, request=self.request)
        self._ignored()

    def _ignored(self) -> None:
        """The state that the task stored itself is kept; if there is none, no result is known."""
        if self._successors:
            self._hand_over(None)
        elif self.stored:
            self._end(ended_as(self._bridge.celery.backend, self.job_id, self.token, *self.stored))
        else:
            self._end(Completion(self.job_id, self.token, "null", data=NO_RESULT))

    def _reject(self, reject: Reject) -> None:
        if not reject.requeue:
            self.failed(reject)
            return
        # The store sends it again; the message itself must not come back as well.
        self._end(Failure(self.job_id, self.token, REJECTED, retry_ms=0))
        raise Ignore("given back")

    # -- what follows -----------------------------------------------------------------------------

    def _continue(self, value: Any) -> None:
        """Callbacks and the next step of the chain, as Celery's tracer would publish them."""
        app, request = self._bridge.celery, self.request
        root_id = request.root_id or request.id
        inherit = app.conf.task_inherit_parent_priority
        common: dict[str, Any] = {"parent_id": request.id, "root_id": root_id}
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
            step, chain = next_of(request.chain)
            signature(step, app=app).apply_async((value,), chain=chain, **common)

    def _trail(self) -> str:
        """What the task has published, for ``AsyncResult.children``; kept as the data of its job."""
        children = [one.as_tuple() for one in self.request.children]
        return str(json.dumps({"children": children})) if children else ""

    def _carried(self) -> Iterator[tuple[str, str]]:
        for step in self.request.chain or ():
            yield from results_in(step)

    def _wants_result(self) -> bool:
        ignored = self.request.ignore_result
        return not (self._task.ignore_result if ignored is None else ignored)

    # -- storing ----------------------------------------------------------------------------------

    def _end(self, outcome: Completion | Failure | HandOver) -> None:
        engine = self._bridge.engine
        if isinstance(outcome, Completion):
            self._settle(lambda: complete(engine, [outcome]), None if self._after else outcome)
        elif isinstance(outcome, Failure):
            self._settle(lambda: fail(engine, [outcome]))
        else:
            self._settle(lambda: hand_over(engine, [outcome]))
        for send in self._after:
            send()

    def _settle(self, step: Callable[[], Change], success: Completion | None = None) -> None:
        accepted = self._settling.settle(self.job_id, step, success)
        self.settled = True
        if not accepted:
            raise Ignore("the lease was lost: another worker has taken the job over")
