"""One attempt at a task in our own worker: on a thread, or on the loop if it is ``async def``."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from billiard.common import human_status
from celery import signals
from celery.app.task import Context
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError

from stratix_kombu.celery.attempt import error_text, reason_of
from stratix_kombu.celery.interrupts import Interruptible, TaskTerminated
from stratix_kombu.celery.on_loop import OnLoop
from stratix_kombu.celery.requests import UNREADABLE, may_be_dropped
from stratix_kombu.celery.task import HOSTED, keep_until_due
from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.recover import give_up
from stratix_kombu.model.message import OtherMessage
from stratix_kombu.model.record import Change, Claim, Completion, Failure, Held
from stratix_kombu.model.state import State
from stratix_kombu.model.tasks import TRACKED
from stratix_kombu.worker.attempt import Attempt, Attempts, Outcome
from stratix_kombu.worker.timeouts import Timeouts

if TYPE_CHECKING:
    from stratix_kombu.celery.hosted import HostedTasks

logger = logging.getLogger("stratix_kombu.celery")


class TaskAttempt(Attempt):
    """One attempt at a task: the place where ``celery.attempt.Attempt`` leaves its outcome."""

    __slots__ = (
        "_call",
        "_host",
        "_message",
        "_name",
        "_on_loop",
        "_outcome",
        "_running",
        "_settled",
        "_soft_s",
        "_why",
        "adopted",
    )

    def __init__(self, host: HostedTasks, of: Attempts, claim: Claim, message: OtherMessage) -> None:
        super().__init__(of, claim, None, None)
        self._host = host
        self._message = message
        self._name: str = message.headers["task"]
        self.timeout_s, self._soft_s = host.limits(message)
        tracer = host.worker.tracers.get(self._name)
        self._on_loop = None if tracer is None else OnLoop(tracer)
        self.is_async = tracer is not None
        self._running = Interruptible()
        self._why = ""
        """Why it was interrupted for good: ``revoked``, ``limit``; '' = it was not."""
        self._outcome: Outcome | None = None
        self._settled = False
        self.adopted = TRACKED not in message.headers
        """Its producer does not know of the store."""

    # -- how it ends before its task does ----------------------------------------------------------

    @property
    def needs_timeouts(self) -> bool:
        return not self.is_async and (self.timeout_s is not None or self._soft_s is not None)

    def run_in_time(self, timeouts: Timeouts, over: Callable[[Attempt], None]) -> Outcome | None:
        if self._soft_s is None:
            return super().run_in_time(timeouts, over)
        softly = f"{self.token}/soft"
        timeouts.add(softly, self._soft_s, self._exceed_softly)
        try:
            return super().run_in_time(timeouts, over)
        finally:
            timeouts.remove(softly)

    def _exceed_softly(self) -> None:
        """The task can go on for a while, as Celery has it."""
        logger.warning("Soft time limit (%ss) exceeded for %s[%s]", self._soft_s, self._name, self.claim.record.id)
        if self._on_loop is not None:
            self._on_loop.interrupt(SoftTimeLimitExceeded())
        else:
            self._running.interrupt(SoftTimeLimitExceeded)

    def interrupt(self) -> None:
        """It is revoked: its task ends with its next instruction. A coroutine is cancelled."""
        if not self._why:
            self._why = "revoked"
            self._end_call()

    def lost(self) -> None:
        """Revoked tasks lose their lease: they are ended, too. Others may run elsewhere now, and this one runs on, as
        in Celery."""
        engine = self._host.bridge.engine
        try:
            (record,) = engine.store.queries.get([self.claim.record.id])
        except Unavailable as problem:
            engine.report(self._host.queue, problem, "lease_lost")
            return
        if record is not None and record.state is State.FAILED:
            self.interrupt()

    def timed_out(self) -> Failure | None:
        """It exceeds its hard time limit: it has failed, and its task ends with its next instruction, or its process
        now; see ``TaskWorker.end_process``."""
        limit = self.timeout_s or 0.0
        task_id = self._message.headers["id"]
        logger.error("Hard time limit (%ss) exceeded for %s[%s]", limit, self._name, task_id)
        self._why, error = "limit", TimeLimitExceeded(limit)
        try:
            request = Context(self._host.request_of(self._message))
            self._host.bridge.celery.backend.mark_as_failure(task_id, error, request=request)
            self._host.tell_failure(self._name, request, error)
        except Exception as problem:
            logger.error("its errbacks were not called, and what depends on it was not ended: %r", problem)
            return self._failed_with(error)
        finally:
            if self._host.worker.ends_processes:
                self._host.worker.end_process()
            self._end_call()
        return None

    def _end_call(self) -> None:
        if not self.is_async:
            self._running.terminate()

    def abandoned(self) -> Failure | None:
        """A task that acknowledges early runs at most once."""
        task = self._host.tasks.get(self._name)
        if task is None or task.acks_late:
            return None
        return self._failed_with(WorkerLostError("its worker was shut down while it ran"))

    # -- running ----------------------------------------------------------------------------------

    def run(self) -> Outcome | None:
        host = self._host
        try:
            request = self._request()
            if isinstance(request, Failure):
                return request
            task = host.tasks.get(self._name)
            if task is None:
                host.unknown(self._message, Context(request), held=True)
                return None
            if host.is_dropped(task, request, held=True):
                return None
            return self._trace(task, request)
        except BaseException as error:  # a task that raises SystemExit ends a process of Celery's pool
            return self._ended_by(error)
        finally:
            self._running.end()
            host.worker.ended(self._name)

    def _trace(self, task: Any, request: dict[str, Any]) -> Outcome | None:
        self._host.trace(task, self._message, request)
        return self._outcome

    async def run_async(self, wait_s: float = 0.0) -> Outcome | None:
        """Its coroutine on the loop: see ``celery.on_loop``."""
        host, on_loop = self._host, self._on_loop
        assert on_loop is not None
        try:
            if wait_s:
                await asyncio.sleep(wait_s)
            request = self._request()
            if isinstance(request, Failure):
                return request
            task = host.tasks[self._name]
            if may_be_dropped(request) and await asyncio.to_thread(host.is_dropped, task, request, True):
                return None
            host.tell_begin(task, self._message, request)
            soft = None if self._soft_s is None else (self._soft_s, self._exceed_softly)
            hard = None if self.timeout_s is None else (self.timeout_s, self._exceed)
            await on_loop.run(task, request, limits=[one for one in (soft, hard) if one is not None])
            if self._why:
                return self._ended_by(TaskTerminated())
            quick = on_loop.is_plain and not self._is_watched()
            traced = on_loop.trace() if quick else await asyncio.to_thread(on_loop.trace)
            if isinstance(traced, BaseException):
                return await asyncio.to_thread(self._ended_by, traced)
            host.tell_traced(task, request, traced)
            return self._outcome
        except BaseException as error:
            return self._ended_by(error)
        finally:
            host.worker.ended(self._name)

    def _exceed(self) -> None:
        """A coroutine exceeds its hard time limit: it has failed, and ends at its next ``await``."""
        assert self._on_loop is not None
        asyncio.get_running_loop().run_in_executor(None, self.timed_out)
        self._why = "limit"
        self._on_loop.interrupt(TaskTerminated())

    def _request(self) -> dict[str, Any] | Failure:
        """The request of its message; how it has failed if that cannot be read."""
        try:
            request = self._host.request_of(self._message)
        except UNREADABLE as problem:
            return self._failed_with(self._host.unreadable(self._message, problem))
        request[HOSTED] = self
        return request

    def context(self) -> Context | None:
        """Its request, for who asks about it from outside; None if its message cannot be read."""
        try:
            return Context(self._host.request_of(self._message))
        except UNREADABLE:
            return None

    def _ended_by(self, error: BaseException) -> Outcome | None:
        """It has ended with what no task may raise, or because somebody wants that."""
        if self._why == "revoked":
            self._tell_terminated()
        if self._why or self._of.settings.cancellations.is_asked(self.token):
            return None
        logger.error("task %s[%s] has ended its thread", self._name, self.claim.record.id, exc_info=error)
        return None if self._settled else self._ends_lost(WorkerLostError(_why_lost(error)), "")

    def _ends_lost(self, error: WorkerLostError, trace: str) -> Outcome | None:
        """It would have ended its process, or has: as Celery's main process deals with it."""
        task = self._host.tasks.get(self._name)
        if task is not None and task.acks_late and task.reject_on_worker_lost:
            most = self._host.bridge.queue.settings.worker.max_stalled_count
            give_up(self._host.bridge.engine, [Held(self.claim.record.id, self.token)], most)
            return None
        return self._fails(error, trace)

    def _fails(self, error: Exception, trace: str) -> Outcome | None:
        """It has failed: errbacks and handlers are called, what depends on it fails, signals and events are sent."""
        try:
            context = Context(self._host.request_of(self._message))
            self._host.bridge.celery.backend.mark_as_failure(context.id, error, trace, request=context)
            self._host.tell_failure(self._name, context, error)
        except Exception as problem:
            logger.error("its errbacks were not called, and what depends on it was not ended: %r", problem)
            return self._failed_with(error)
        return None

    def _tell_terminated(self) -> None:
        task = self._host.tasks.get(self._name)
        logger.info("Task %s[%s] terminated", self._name, self.claim.record.id)
        told = {"terminated": True, "signum": signal.SIGTERM, "expired": False}
        self._host.worker.remote.send("task-revoked", uuid=self._message.headers["id"], **told)
        if signals.task_revoked.receivers:
            request = Context(self._host.request_of(self._message))
            signals.task_revoked.send(sender=task, request=request, **told)

    def _failed_with(self, error: Exception) -> Failure:
        text = error_text(self._host.bridge.celery.backend, error)
        return Failure(self.claim.record.id, self.token, reason_of(error), error=text)

    # -- how it is settled: see ``celery.attempt.Settling`` ----------------------------------------

    def call(self, function: Callable[[], Any]) -> Any:
        return self._running.run(function)

    def settle(self, job_id: str, step: Callable[[], Change], success: Completion | None) -> bool:
        self._settled = True
        if success is not None and not self._is_watched():
            self._outcome = success
            return True
        return self._host.bridge.settle(job_id, self._host.queue, step)

    def _is_watched(self) -> bool:
        """Whether somebody may look for the result as soon as the task has ended."""
        task = self._host.tasks[self._name]
        return self.adopted or self._host.bridge.mirror.everything or self._host.bridge.is_heard(task)

    def drop(self) -> None:
        """It was not settled: ``run`` sees what it has ended with."""


def _why_lost(error: BaseException) -> str:
    """As Celery says it of a process of its pool."""
    if isinstance(error, SystemExit):
        code = error.code or 0
        return f"Worker exited prematurely: {human_status(code if isinstance(code, int) else 1)}."
    return f"its thread was ended by {error!r}"


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
            try:
                request = host.request_of(self._message)
            except UNREADABLE as problem:
                host.unreadable(self._message, problem)
                return None
            task = host.tasks.get(request["task"])
            if task is None:
                host.unknown(self._message, Context(request), held=False)
            elif host.bridge.publisher.is_early(request.get("eta")):
                keep_until_due(host.bridge, Context(request), host.queue)
            elif not host.is_dropped(task, request, held=False):
                host.trace(task, self._message, request)
        except BaseException:
            logger.exception("task %s failed", self._message.headers["id"], extra={"action": "task_failed"})
        finally:
            host.worker.ended(self._message.headers["task"])
        return None
