"""Tasks of Celery in our own worker: claimed many at a time, run by Celery's own tracer on the worker's threads or its
loop, with its request, signals, retries and canvas; settled many at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from celery import signals, states
from celery.app.task import Context
from celery.exceptions import InvalidTaskError, NotRegistered
from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.exceptions import ContentDisallowed
from kombu.serialization import prepare_accept_content

from stratix_kombu.celery import compat
from stratix_kombu.celery.ended import Ended, ended
from stratix_kombu.celery.hosted_attempt import TaskAttempt, UntrackedAttempt
from stratix_kombu.celery.meta import is_revoked_unseen
from stratix_kombu.celery.plain import has_gone_on, is_being_sent
from stratix_kombu.celery.publish import DUE, NOT_TRACKED
from stratix_kombu.celery.rejecting import fail_rejected
from stratix_kombu.celery.requests import is_revoked, may_be_dropped, message_of, received_request, request_of
from stratix_kombu.celery.sandboxed import SandboxedAttempt
from stratix_kombu.celery.sent_again import source_of
from stratix_kombu.celery.task import adopt
from stratix_kombu.errors import Unavailable
from stratix_kombu.model.bare import bare_record
from stratix_kombu.model.message import TASK, OtherMessage
from stratix_kombu.model.names import new_request, task_job_id
from stratix_kombu.model.record import Claim, JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.model.tasks import TRACKED
from stratix_kombu.worker.attempt import Attempt, Attempts

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge
    from stratix_kombu.celery.program import TaskWorker

logger = logging.getLogger("stratix_kombu.celery")
received = logging.getLogger("celery.worker.strategy")
"""Where Celery's worker logs each task that it has received."""


class HostedTasks:
    """The tasks that come to one queue: see ``worker.natives.TaskHost``."""

    def __init__(self, worker: TaskWorker, bridge: Bridge, queue: str) -> None:
        self.worker = worker
        self.bridge = bridge
        self.queue = queue
        self.tasks = bridge.celery.tasks  # which Celery looks up under a lock
        self.hostname = worker.hostname
        self._accept = prepare_accept_content(bridge.celery.conf.accept_content)
        self._left_out: dict[str, bool] = {}
        """By name of a task: whether it is no job."""
        conf = bridge.celery.conf
        self._limits = (conf.task_time_limit, conf.task_soft_time_limit)

    # -- what the consumer asks -------------------------------------------------------------------

    def job_id(self, message: OtherMessage) -> str | None:
        headers = message.headers
        if not isinstance(headers, dict):
            return None
        name, task_id = headers.get("task"), headers.get("id")
        if not isinstance(name, str) or not isinstance(task_id, str) or not task_id or name == TASK:
            return None
        if headers.get(TRACKED) == NOT_TRACKED or self._is_left_out(name) or self._is_copy(message):
            return ""
        return task_job_id(task_id)

    def _is_copy(self, message: OtherMessage) -> bool:
        """Whether other queues may have got it, too."""
        if TRACKED in message.headers:
            return False
        return not source_of(self.bridge.celery, Context(delivery_info=message.properties.get("delivery_info")))

    def _is_left_out(self, name: str) -> bool:
        known = self._left_out.get(name)
        if known is None:
            known = self._left_out[name] = self.bridge.leaves_out(name)
        return known

    def adopt(self, messages: Sequence[OtherMessage]) -> list[bool]:
        new = [one for one in messages if TRACKED not in one.headers]
        records = self.bridge.engine.store.queries.get([task_job_id(one.headers["id"]) for one in new])
        known = {one.headers["id"]: record for one, record in zip(new, records, strict=True)}
        return [TRACKED not in one.headers and self._adopt_safely(one, known[one.headers["id"]]) for one in messages]

    def _adopt_safely(self, message: OtherMessage, record: JobRecord | None) -> bool:
        """One that nothing can be made of is dropped, as Celery drops it: it does not stop the others."""
        try:
            return self._adopt(message, record)
        except Unavailable:
            raise
        except Exception as problem:
            self.unreadable(message, problem)
            return False

    def _adopt(self, message: OtherMessage, record: JobRecord | None) -> bool:
        if record is not None and not (has_gone_on(record) or is_being_sent(record) or is_revoked_unseen(record)):
            return False
        received.info("Task %s[%s] received", message.headers["task"], message.headers["id"])
        task = self.tasks.get(message.headers["task"])
        given = self.request_of(message)
        if task is None:
            self.unknown(message, Context(given), held=False)
            return False
        if self.is_dropped(task, given, held=False):
            return False
        return adopt(self.bridge, Context(given), self.queue, record)

    def unreadable(self, message: OtherMessage, problem: Exception) -> Exception:
        """Tell as Celery's worker does that a message was dropped. Returns what its task has failed with."""
        dropped = {"action": "message_dropped", "job_id": message.headers["id"]}
        if isinstance(problem, ContentDisallowed):
            text = "Received invalid task message: %s\nThe message has been ignored and discarded."
            logger.error(text, problem, extra=dropped)
            told = message_of(message, self._accept)
            signals.task_rejected.send(sender=self.worker, message=told, exc=problem)
            failed: Exception = problem
        else:
            logger.critical("a message cannot be read and is dropped: %r", problem, extra=dropped)
            failed = InvalidTaskError(f"its message cannot be read: {problem!r}")
        return failed

    def attempt(self, attempts: Attempts, claim: Claim, message: OtherMessage) -> Attempt:
        received.info("Task %s[%s] received", claim.record.name, message.headers["id"])
        source = self.worker.sandboxed.get(claim.record.name)
        if source is not None:
            return SandboxedAttempt(self, attempts, claim, message, source)
        return TaskAttempt(self, attempts, claim, message)

    def unclaimed(self, attempts: Attempts, message: OtherMessage) -> Attempt:
        record = bare_record(message.headers["id"], self.queue, message.headers["task"], State.ACTIVE)
        return UntrackedAttempt(self, attempts, Claim(new_request(), record), message)

    # -- what an attempt asks ---------------------------------------------------------------------

    def request_of(self, message: OtherMessage) -> dict[str, Any]:
        """The request of a message, as Celery's worker makes it. Raises one of ``UNREADABLE``."""
        return request_of(message, self._accept, self.hostname)

    def limits(self, message: OtherMessage) -> tuple[float | None, float | None]:
        """The hard and the soft time limit of a task, in seconds: its message's, else its own, else those of the
        configuration."""
        given = message.headers.get("timelimit")
        hard, soft = given if isinstance(given, (list, tuple)) and len(given) == 2 else (None, None)
        task = self.tasks.get(message.headers["task"])
        if task is not None:
            hard, soft = hard or task.time_limit, soft or task.soft_time_limit
        return _seconds(hard or self._limits[0]), _seconds(soft or self._limits[1])

    def trace(self, task: Any, message: OtherMessage, request: dict[str, Any]) -> None:
        """Run a task by Celery's tracer."""
        self.tell_begin(task, message, request)
        run = compat.tracer_of(self.bridge.celery, task, self.hostname)
        self.tell_traced(task, request, run(request["id"], request["args"], request["kwargs"], request))

    def tell_begin(self, task: Any, message: OtherMessage, request: dict[str, Any]) -> None:
        """The signal and the events of a task that is about to run."""
        events = self.worker.remote.events
        if signals.task_received.receivers:
            received = received_request(message, task, self._accept, self.hostname)
            signals.task_received.send(sender=self.worker, request=received)
        if events is not None and events.enabled:
            self._tell_begin(task, request)

    def tell_traced(self, task: Any, request: dict[str, Any], traced: Any) -> None:
        """What is left to do for a task that has ended, by what the tracer has returned; and its event."""
        fail_rejected(self.bridge, task, request, traced)
        events = self.worker.remote.events
        if events is not None and events.enabled:
            self.tell_end(task, request["id"], ended(traced))

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
            eta=request.get("eta") or request.get(DUE),
            expires=request.get("expires"),
        )
        send("task-started", uuid=task_id)

    def tell_end(self, task: Any, task_id: str, how: Ended) -> None:
        """The event of a task that has ended."""
        send, why = self.worker.remote.send, {"exception": how.error, "traceback": how.traceback}
        if how.state is None:
            send("task-succeeded", uuid=task_id, result=how.shown, runtime=how.runtime)
        elif how.state == states.RETRY:
            send("task-retried", uuid=task_id, **why)
        elif how.state == states.FAILURE:
            send("task-failed", uuid=task_id, **why)
        elif how.state == states.REJECTED:
            send("task-failed", uuid=task_id, **why)
            if task.acks_late:  # else the message was acknowledged before
                send("task-rejected", uuid=task_id, requeue=False)

    def tell_failure(self, name: str, request: Context, error: Exception) -> None:
        """Call what Celery's worker calls for a task that it has ended: its handlers, the signal, the event."""
        task, args, kwargs = self.tasks[name], request.args, request.kwargs
        try:
            raise error
        except Exception:
            info = ExceptionInfo()
        task.on_failure(error, request.id, args, kwargs, info)
        task.after_return(states.FAILURE, error, request.id, args, kwargs, None)
        about = {"task_id": request.id, "exception": error, "args": args, "kwargs": kwargs, "einfo": info}
        signals.task_failure.send(sender=task, traceback=error.__traceback__, **about)
        self.worker.remote.send("task-failed", uuid=request.id, exception=repr(error), traceback=info.traceback)

    def unknown(self, message: OtherMessage, request: Context, held: bool) -> None:
        """No task of that name is registered here: it has failed, as in Celery. ``held``: the attempt has its claim;
        else it may be running elsewhere, and goes on."""
        name = request.task
        logger.error("unregistered task %r", name, extra={"action": "task_unknown", "job_id": request.id})
        self.bridge.celery.backend.mark_as_failure(request.id, NotRegistered(name), request=request, held=held)
        self.worker.remote.send("task-failed", uuid=request.id, exception=f"NotRegistered({name!r})")
        told = {"message": message_of(message, self._accept), "exc": KeyError(name)}
        signals.task_unknown.send(sender=self.worker, name=name, id=request.id, **told)

    def is_dropped(self, task: Any, request: Mapping[str, Any], held: bool) -> bool:
        """Whether it is too late to run it, or the worker has been told to revoke it, by its id or by a stamp. It is
        revoked then, as in Celery. ``held`` as for ``unknown``."""
        if not may_be_dropped(request):
            return False
        expired = self._has_expired(request.get("expires"))
        if not (expired or is_revoked(request)):
            return False
        logger.info("Discarding revoked task: %s[%s]", request["task"], request["id"])
        context, reason = Context(request), "expired" if expired else "revoked"
        self.bridge.celery.backend.mark_as_revoked(context.id, reason, request=context, held=held)
        told = {"terminated": False, "signum": None, "expired": expired}
        signals.task_revoked.send(sender=task, request=context, **told)
        self.worker.remote.send("task-revoked", uuid=context.id, **told)
        return True

    def _has_expired(self, expires: Any) -> bool:
        app = self.bridge.celery
        return bool(expires) and app.now() >= maybe_make_aware(maybe_iso8601(expires), app.timezone)


def _seconds(limit: Any) -> float | None:
    """A time limit, whatever a message says, as a number is written there: none, if it is none."""
    try:
        return (limit if isinstance(limit, (int, float)) else float(limit)) if limit else None
    except (TypeError, ValueError):
        return None
