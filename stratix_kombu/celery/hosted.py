"""Tasks of Celery in our own worker: claimed many at a time, run by Celery's own tracer on the worker's threads, with
its request, signals, retries and canvas; settled many at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celery import signals, states
from celery.app.task import Context
from celery.exceptions import InvalidTaskError, NotRegistered, TimeLimitExceeded, WorkerLostError
from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.compression import decompress
from kombu.exceptions import KombuError
from kombu.serialization import loads, prepare_accept_content

from stratix_kombu.celery import compat
from stratix_kombu.celery.attempt import error_text, reason_of
from stratix_kombu.celery.publish import NOT_TRACKED
from stratix_kombu.celery.task import HOSTED, adopt
from stratix_kombu.drivers.native import TRACKED
from stratix_kombu.model.bare import bare_record
from stratix_kombu.model.message import TASK, OtherMessage
from stratix_kombu.model.names import new_request, task_job_id
from stratix_kombu.model.record import Change, Claim, Completion, Failure
from stratix_kombu.model.state import State
from stratix_kombu.worker.attempt import Attempt, Attempts, Outcome

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge
    from stratix_kombu.celery.program import TaskWorker

logger = logging.getLogger("stratix_kombu.celery")
received = logging.getLogger("celery.worker.strategy")
"""Where Celery's worker logs each task that it has received."""

UNREADABLE = (KombuError, ValueError, TypeError, KeyError, LookupError)
"""What a body may raise that cannot be read."""


class HostedTasks:
    """The tasks that come to one queue: see ``worker.natives.TaskHost``."""

    def __init__(self, worker: TaskWorker, bridge: Bridge, queue: str) -> None:
        self.worker = worker
        self.bridge = bridge
        self.queue = queue
        self.hostname = worker.hostname
        self._accept = prepare_accept_content(bridge.celery.conf.accept_content)
        self._left_out: dict[str, bool] = {}
        """By name of a task: whether it is no job."""
        self._heard: dict[str, bool] = {}
        """By name of a task: whether something is called when it has succeeded."""

    # -- what the consumer asks -------------------------------------------------------------------

    def job_id(self, message: OtherMessage) -> str | None:
        headers = message.headers
        if not isinstance(headers, dict):
            return None
        name, task_id = headers.get("task"), headers.get("id")
        if not isinstance(name, str) or not isinstance(task_id, str) or not task_id or name == TASK:
            return None
        if headers.get(TRACKED) == NOT_TRACKED or self._is_left_out(name):
            return ""
        return task_job_id(task_id)

    def _is_left_out(self, name: str) -> bool:
        known = self._left_out.get(name)
        if known is None:
            known = self._left_out[name] = self.bridge.leaves_out(name)
        return known

    def adopt(self, messages: Sequence[OtherMessage]) -> list[bool]:
        return [TRACKED not in one.headers and self._adopt(one) for one in messages]

    def _adopt(self, message: OtherMessage) -> bool:
        received.info("Task %s[%s] received", message.headers["task"], message.headers["id"])
        task = self.bridge.celery.tasks.get(message.headers["task"])
        try:
            request = Context(self.request_of(message))
        except UNREADABLE as problem:
            self.unreadable(problem)
            return False
        if task is None:
            self.unknown(request)
            return False
        if self.expired(task, request):
            return False
        adopt(self.bridge, task, request)
        return True

    @staticmethod
    def unreadable(problem: Exception) -> None:
        """Log that a message was dropped."""
        logger.critical("a message cannot be read and is dropped: %r", problem, extra={"action": "message_dropped"})

    def attempt(self, attempts: Attempts, claim: Claim, message: OtherMessage) -> Attempt:
        received.info("Task %s[%s] received", claim.record.name, message.headers["id"])
        return TaskAttempt(self, attempts, claim, message)

    def unclaimed(self, attempts: Attempts, message: OtherMessage) -> Attempt:
        record = bare_record(message.headers["id"], self.queue, message.headers["task"], State.ACTIVE)
        return UntrackedAttempt(self, attempts, Claim(new_request(), record), message)

    # -- what an attempt asks ---------------------------------------------------------------------

    def request_of(self, message: OtherMessage) -> dict[str, Any]:
        """The request of a message, as Celery's worker makes it. Raises one of ``UNREADABLE``."""
        properties, body = message.properties, message.body
        info = properties.get("delivery_info") or {}
        if message.headers.get("compression"):
            body = decompress(body, message.headers["compression"])
        args, kwargs, embed = loads(body, message.content_type, message.content_encoding, accept=self._accept)
        return {
            **message.headers,
            "properties": properties,
            "reply_to": properties.get("reply_to"),
            "correlation_id": properties.get("correlation_id"),
            "delivery_info": {
                "exchange": info.get("exchange"),
                "routing_key": info.get("routing_key"),
                "priority": properties.get("priority"),
                "redelivered": bool(info.get("redelivered")),
            },
            "hostname": self.hostname,
            "is_eager": False,
            "args": args,
            "kwargs": kwargs,
            **(embed or {}),
        }

    def time_limit(self, message: OtherMessage) -> float | None:
        """The hard time limit of a task, in seconds, where it can be kept: the process has to be ended."""
        if not self.worker.ends_processes:
            return None
        task = self.bridge.celery.tasks.get(message.headers["task"])
        given = (message.headers.get("timelimit") or (None,))[0] or getattr(task, "time_limit", None)
        return float(given or self.bridge.celery.conf.task_time_limit or 0) or None

    def trace(self, task: Any, request: dict[str, Any]) -> None:
        """Run a task by Celery's tracer."""
        task_id, events = request["id"], self.worker.remote.events
        if signals.task_received.receivers:
            signals.task_received.send(sender=self.worker, request=Context(request))
        if events is not None and events.enabled:
            self._tell_begin(task, request)
        run = compat.tracer_of(self.bridge.celery, task, self.hostname)
        _, info, runtime, shown = run(task_id, request["args"], request["kwargs"], request)
        if events is not None and events.enabled:
            self._tell_end(task_id, info, runtime, shown)

    def _tell_begin(self, task: Any, request: Mapping[str, Any]) -> None:
        send, task_id = self.worker.remote.send, request["id"]
        send(
            "task-received",
            uuid=task_id,
            name=task.name,
            args=request.get("argsrepr") or "",
            kwargs=request.get("kwargsrepr") or "",
            root_id=request.get("root_id"),
            parent_id=request.get("parent_id"),
            retries=request.get("retries", 0),
            eta=request.get("eta"),
            expires=request.get("expires"),
        )
        send("task-started", uuid=task_id)

    def _tell_end(self, task_id: str, info: Any, runtime: Any, shown: Any) -> None:
        send = self.worker.remote.send
        if info is None:
            send("task-succeeded", uuid=task_id, result=shown, runtime=runtime)
        elif info.state == states.RETRY:
            send("task-retried", uuid=task_id, exception=repr(info.retval), traceback="")
        elif info.state == states.FAILURE:
            send("task-failed", uuid=task_id, exception=repr(info.retval), traceback="")
        elif info.state == states.REJECTED:
            send("task-rejected", uuid=task_id)

    def unknown(self, request: Context) -> None:
        """No task of that name is registered here: it has failed, as in Celery."""
        name = request.task
        logger.error("unregistered task %r", name, extra={"action": "task_unknown", "job_id": request.id})
        signals.task_unknown.send(sender=self, name=name, id=request.id, message=None, exc=NotRegistered(name))
        self.bridge.celery.backend.mark_as_failure(request.id, NotRegistered(name), request=request)

    def expired(self, task: Any, request: Context) -> bool:
        """Whether it is too late to run it; then it is revoked, as in Celery."""
        if not request.expires:
            return False
        app = self.bridge.celery
        expires = maybe_make_aware(maybe_iso8601(request.expires), app.timezone)
        if app.now() < expires:
            return False
        app.backend.mark_as_revoked(request.id, "expired", request=request)
        told = {"terminated": False, "signum": None, "expired": True}
        signals.task_revoked.send(sender=task, request=request, **told)
        return True

    def is_heard(self, task: Any) -> bool:
        """Whether the project has something called when a task has succeeded: it may look for the result then."""
        known = self._heard.get(task.name)
        if known is None:
            known = self._heard[task.name] = compat.hears_of_success(task)
        return known


class TaskAttempt(Attempt):
    """One attempt at a task: the place where ``celery.attempt.Attempt`` leaves its outcome."""

    __slots__ = ("_host", "_message", "_outcome", "_settled", "adopted")

    def __init__(self, host: HostedTasks, of: Attempts, claim: Claim, message: OtherMessage) -> None:
        super().__init__(of, claim, None, None)
        self._host = host
        self._message = message
        limit = host.time_limit(message)
        self.timeout_s = limit
        self._outcome: Outcome | None = None
        self._settled = False
        self.adopted = TRACKED not in message.headers
        """Its producer does not know of the store."""

    def timed_out(self) -> Failure:
        """It exceeds its hard time limit: it has failed, and its process ends; see ``TaskWorker.end_process``."""
        limit = self.timeout_s or 0.0
        name, task_id = self._message.headers["task"], self._message.headers["id"]
        logger.error("Hard time limit (%ss) exceeded for %s[%s]", limit, name, task_id)
        error = TimeLimitExceeded(limit)
        try:
            request = Context(self._host.request_of(self._message))
            self._host.bridge.celery.backend.mark_as_failure(task_id, error, request=request)
        finally:
            self._host.worker.end_process()

    def run(self) -> Outcome | None:
        host, name = self._host, self._message.headers["task"]
        try:
            task = host.bridge.celery.tasks.get(name)
            try:
                request = host.request_of(self._message)
            except UNREADABLE as problem:
                host.unreadable(problem)
                return self._failed_with(InvalidTaskError(f"its message cannot be read: {problem}"))
            if task is None:
                host.unknown(Context(request))
                return None
            if request.get("expires") and host.expired(task, Context(request)):
                return None
            request[HOSTED] = self
            host.trace(task, request)
            return self._outcome
        except BaseException as error:  # a task that raises SystemExit ends a process of Celery's pool
            logger.exception("task %s[%s] has ended its thread", name, self._message.headers["id"])
            return None if self._settled else self._failed_with(WorkerLostError(f"its thread was ended by {error!r}"))
        finally:
            host.worker.ended(self._message.headers["task"])

    def _failed_with(self, error: Exception) -> Failure:
        text = error_text(self._host.bridge.celery.backend, error)
        return Failure(self.claim.record.id, self.token, reason_of(error), error=text)

    def abandoned(self) -> Failure | None:
        """A task that acknowledges early runs at most once."""
        task = self._host.bridge.celery.tasks.get(self._message.headers["task"])
        if task is None or task.acks_late:
            return None
        return self._failed_with(WorkerLostError("its worker was shut down while it ran"))

    # -- how it is settled: see ``celery.attempt.Settling`` ----------------------------------------

    def settle(self, job_id: str, step: Callable[[], Change], success: Completion | None) -> bool:
        self._settled = True
        if success is not None and not self._is_watched():
            self._outcome = success
            return True
        return self._host.bridge.settle(job_id, self._host.queue, step)

    def _is_watched(self) -> bool:
        """Whether somebody may look for the result as soon as the task has ended."""
        task = self._host.bridge.celery.tasks[self._message.headers["task"]]
        return self.adopted or self._host.bridge.mirror.everything or self._host.is_heard(task)

    def drop(self) -> None:
        """It was not settled: its lease expires."""
        self._settled = True


class UntrackedAttempt(Attempt):
    """A task that is no job: it is run as it comes, as Celery runs it."""

    is_leased = False
    __slots__ = ("_host", "_message")

    def __init__(self, host: HostedTasks, of: Attempts, claim: Claim, message: OtherMessage) -> None:
        super().__init__(of, claim, None, None)
        self._host = host
        self._message = message

    def run(self) -> Outcome | None:
        host = self._host
        try:
            request = host.request_of(self._message)
            task = host.bridge.celery.tasks.get(request["task"])
            if task is None:
                host.unknown(Context(request))
            elif not host.expired(task, Context(request)):
                host.trace(task, request)
        except BaseException:
            logger.exception("task %s failed", self._message.headers["id"], extra={"action": "task_failed"})
        finally:
            host.worker.ended(self._message.headers["task"])
        return None
