"""One attempt at one job: from a claim to its outcome. Nothing a handler does can escape it."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stratix_kombu.config.options import JobOptions, milliseconds
from stratix_kombu.errors import ConfigurationError, InvalidPayload, JobCancelled, RateLimited, UnrecoverableError
from stratix_kombu.logs import InJob
from stratix_kombu.model.awaiting import awaited, finished, is_awaitable
from stratix_kombu.model.backoff import MAX_DELAY_MS, custom_delay, retry_delay
from stratix_kombu.model.cancellation import Cancellations
from stratix_kombu.model.claims import NO_BOUNDS, Bounds
from stratix_kombu.model.codec import MAX_PAYLOAD_BYTES, encode
from stratix_kombu.model.middleware import Middleware, from_the_handler, within, within_async
from stratix_kombu.model.record import Claim, Completion, Failure, JobRecord
from stratix_kombu.worker.attempt_log import log_failure
from stratix_kombu.worker.handlers import Handler, Handlers
from stratix_kombu.worker.sandbox.protocol import SandboxFailure, SandboxStarved
from stratix_kombu.worker.timeouts import Timeouts

if TYPE_CHECKING:
    from stratix_kombu.worker.sandbox.pool import SandboxPool

logger = logging.getLogger("stratix_kombu.worker")

MAX_REASON = 4_000
MAX_STACKTRACE = 16_000
"""Characters kept of why a job failed."""
CANCEL_S = 1.0
"""How long a coroutine that was cancelled may take to end."""
_NO_OPTIONS = JobOptions()
FALLBACK_DELAY_MS = 1_000
"""Used when a custom back-off raises or is not registered here."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """The handler asked that its queue start nothing for a while: the job goes back, and no attempt is counted."""

    job_id: str
    token: str
    hold_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LateFailure(Failure):
    """The handler may have completed its job within its own transaction before: what this is, and is to be logged as,
    is known when the store has answered."""

    record: JobRecord
    raised: BaseException | None
    is_known: bool
    """Why it was asked to stop is logged already."""

    def plain(self) -> Failure:
        """As the store is told of it."""
        return Failure(self.job_id, self.token, self.reason, self.stacktrace, self.retry_ms)


Outcome = Completion | Failure | Postponed


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How one queue is worked on in this process."""

    concurrency: int = 1
    backoffs: Mapping[str, Callable[[int], float]] = field(default_factory=dict)
    """Custom back-off functions by name or dotted path; a job can call no others. Less than 0: no further attempt."""
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    bounds: Bounds = NO_BOUNDS
    cancellations: Cancellations = field(default_factory=Cancellations)
    processor_timeout_ms: int = 0
    sandboxes: SandboxPool | None = None
    """The children that sandboxed handlers run in."""
    middleware: Middleware = field(default_factory=Middleware)


class Attempts:
    """Prepares attempts at the jobs of one queue."""

    def __init__(
        self, queue: str, handlers: Handlers, settings: WorkerSettings, make_job: Callable[[Claim], Any]
    ) -> None:
        self.queue = queue
        self.handlers = handlers
        self.settings = settings
        self.make_job = make_job

    def of(self, claim: Claim) -> Attempt:
        """The attempt that a claim gives the right to: its handler is looked up, and its options are read, here and
        nowhere else."""
        return Attempt(self, claim, self.handlers.find(claim.record.name), _options_of(claim.record))


class Attempt:
    """One claim, with the handler and the options of its job."""

    is_leased = True
    """Whether it is at a job of the store."""

    __slots__ = ("_handler", "_of", "_options", "claim", "is_async", "is_sandboxed", "timeout_s", "token")

    def __init__(self, of: Attempts, claim: Claim, handler: Handler | None, options: JobOptions | None) -> None:
        self.claim = claim
        self.token = claim.token
        self._of = of
        self._handler = handler
        self._options = options
        self.is_async = handler is not None and handler.is_async
        self.is_sandboxed = handler is not None and handler.source is not None
        of_job, of_queue = options.timeout_ms if options else 0, of.settings.processor_timeout_ms
        shorter = min(of_job, of_queue) if of_job and of_queue else of_job or of_queue
        self.timeout_s: float | None = shorter / 1000 or None
        """How long it may take: the job's ``timeout`` or that of the queue's ``processor``, whichever is shorter."""

    # -- running ----------------------------------------------------------------------------------

    def run(self) -> Outcome | None:
        """Call a plain handler, or have a sandboxed one called; None if the outcome is stored already."""
        with _in_job(self.claim.record):
            try:
                handler = self._runnable()
                if handler is None:
                    return self._no_handler()
                job = self._of.make_job(self.claim)
                call = self._call if handler.source is None else self._run_sandboxed
                outcome = within(self._of.settings.middleware.run, job, lambda: call(handler, job))
                return outcome or self._completion(None)
            except BaseException as error:
                return self._failure(error)

    def run_in_time(self, timeouts: Timeouts, over: Callable[[Attempt], None]) -> Outcome | None:
        """``run``. If it exceeds the job's timeout, ``over`` is called meanwhile: see ``timed_out``. The function
        cannot be interrupted. ``timeouts`` has been started, unless a sandbox does that or there is no limit."""
        if self.timeout_s is None or not self.needs_timeouts:
            return self.run()
        timeouts.add(self.token, self.timeout_s, lambda: over(self))
        try:
            return self.run()
        finally:
            timeouts.remove(self.token)

    @property
    def needs_timeouts(self) -> bool:
        """Whether another thread has to watch its time: a sandbox and a loop end it by themselves."""
        return self.timeout_s is not None and not self.is_sandboxed and not self.is_async

    async def run_async(self, wait_s: float = 0.0) -> Outcome | None:
        """Await an ``async def`` handler, after ``wait_s``, for as long as the job may take."""
        if wait_s:
            try:
                await asyncio.sleep(wait_s)
            except asyncio.CancelledError as error:
                return self._failure(error)
        if self.timeout_s is None:
            return await self._await()
        # In a task of its own nothing may be raised: a BaseException would end the loop.
        work = asyncio.ensure_future(self._await())
        try:
            done, _ = await asyncio.wait({work}, timeout=self.timeout_s)
        except asyncio.CancelledError as error:
            await _give_up(work)
            return self._failure(error)
        if done:
            return work.result()
        self._of.settings.cancellations.ask(self.token)
        await _give_up(work)
        return self.timed_out()

    async def _await(self) -> Outcome:
        with _in_job(self.claim.record):
            try:
                handler = self._runnable()
                if handler is None:
                    return self._no_handler()
                job = self._of.make_job(self.claim)
                around = self._of.settings.middleware.run
                return await within_async(around, job, lambda: self._call_async(handler, job)) or self._completion(None)
            except BaseException as error:
                return self._failure(error)

    def _runnable(self) -> Handler | None:
        """The handler. Raises InvalidPayload if the job's options cannot be read: such a job is not run."""
        if self._handler is not None and self._options is None:
            raise InvalidPayload(f"the options of the job cannot be read: {self.claim.record.options[:100]}")
        return self._handler

    def _call(self, handler: Handler, job: Any) -> Outcome:
        value = handler.function(job)
        if is_awaitable(value):
            value = finished(awaited(value, lambda: self._of.settings.cancellations.is_asked(self.token)))
        return self._completion(value)

    async def _call_async(self, handler: Handler, job: Any) -> Outcome:
        return self._completion(await handler.function(job))

    def _run_sandboxed(self, handler: Handler, job: Any) -> Outcome:
        sandboxes = self._of.settings.sandboxes
        assert sandboxes is not None
        assert handler.source is not None
        result = sandboxes.run(handler.source, job, self.timeout_s)
        return Completion(self.claim.record.id, self.token, result)

    # -- outcomes ---------------------------------------------------------------------------------

    def abandoned(self) -> Failure | None:
        """What becomes of it if it has not finished when its worker does; None: another worker may make it again."""
        return None

    def interrupt(self) -> None:
        """Somebody wants it to end. A handler on a thread cannot be interrupted: it checks ``job.cancelled``."""

    def lost(self) -> None:
        """Its lease is over: its outcome will not be wanted."""

    def timed_out(self) -> Failure | None:
        """What becomes of an attempt that took too long; None: it has stored its outcome."""
        return self._failed(f"timed out after {(self.timeout_s or 0.0) * 1000:.0f} ms", final=False)

    def _completion(self, value: Any) -> Completion:
        record = self.claim.record
        if value is None:
            return Completion(record.id, self.token, "null")
        what = f"the result of job {record.name!r} in queue {self._of.queue!r}"
        return Completion(record.id, self.token, encode(value, what, self._of.settings.max_payload_bytes))

    def _no_handler(self) -> Failure:
        known = ", ".join(self._of.handlers.names) or "none"
        name, queue = self.claim.record.name, self._of.queue
        reason = f"no handler for {name!r} on queue {queue!r} in this worker (handlers: {known})"
        explained = self._of.handlers.explain(name)
        return self._failed(f"{reason}; {explained}" if explained else reason, final=False)

    def _failure(self, error: BaseException) -> Failure | Postponed:
        record = self.claim.record
        if isinstance(error, SandboxStarved):
            logger.warning(
                "a job was handed back: %s",
                error,
                extra={"action": "start_failed", "job_id": record.id, "queue": self._of.queue},
            )
            return Postponed(record.id, self.token, 0)
        if isinstance(error, SandboxFailure):
            return self._failed(error.reason, error.final, error)
        if isinstance(error, RateLimited):
            try:
                return Postponed(record.id, self.token, milliseconds(error.retry_after, "'retry_after'"))
            except ConfigurationError as problem:
                error = problem
        final = isinstance(error, UnrecoverableError | InvalidPayload | JobCancelled)
        return self._failed(reason_of(error), final, error)

    def _failed(self, reason: str, final: bool, error: BaseException | None = None) -> Failure:
        record = self.claim.record
        stacktrace, shown = "", error
        if isinstance(error, SandboxFailure):  # its traceback is that of the child
            stacktrace, shown = error.stacktrace, None
        elif error is not None:
            stacktrace = stacktrace_of(error)
        said = (record.id, self.token, reason, stacktrace, None if final else self._retry_ms())
        cancellations = self._of.settings.cancellations
        # An attempt that was asked to stop was cancelled, handed back, lost, or timed out: that is already logged.
        is_known = error is not None and cancellations.is_asked(self.token)
        if cancellations.is_spared(self.token):
            return LateFailure(*said, record=record, raised=shown, is_known=is_known)
        failure = Failure(*said)
        if not is_known:
            log_failure(record, failure, shown)
        return failure

    def _retry_ms(self) -> int | None:
        record = self.claim.record
        attempts_made = record.attempts_made + 1
        if self._options is None or attempts_made >= record.max_attempts:
            return None
        backoff = self._options.backoff
        if backoff is None:
            return 0
        if backoff.type != "custom":
            return retry_delay(backoff, attempts_made)
        try:
            delay = custom_delay(self._of.settings.backoffs, backoff.custom, attempts_made)
        except BaseException as error:
            self._say_backoff_failed(backoff.custom, error)
            return FALLBACK_DELAY_MS
        return None if delay < 0 else min(delay, MAX_DELAY_MS)

    def _say_backoff_failed(self, name: str, error: BaseException) -> None:
        """In the log of this process, and in that of the job, which whoever added the job can read."""
        record = self.claim.record
        said = f"custom back-off {name!r} cannot be used, waiting {FALLBACK_DELAY_MS} ms: {reason_of(error)}"
        logger.warning(
            "job %s of queue %s: %s",
            record.id,
            self._of.queue,
            said,
            extra={"action": "backoff_failed", "job_id": record.id, "queue": self._of.queue},
        )
        with suppress(Exception):  # the store is unreachable, or the job was removed
            self._of.make_job(self.claim).log(said)


def _options_of(record: JobRecord) -> JobOptions | None:
    """None if they cannot be read: such a job is not run."""
    if not record.options:
        return _NO_OPTIONS
    try:
        return JobOptions.decode(record.options)
    except InvalidPayload:
        return None


async def _give_up(work: asyncio.Future[Outcome]) -> None:
    work.cancel()
    await asyncio.wait({work}, timeout=CANCEL_S)


def _in_job(record: JobRecord) -> InJob:
    return InJob(record.id, record.queue, record.name, record.attempts_made + 1)


def reason_of(error: BaseException) -> str:
    """Why a job failed, in one line or a few."""
    try:
        text = str(error)
    except BaseException:
        text = "(its message cannot be read)"
    name = type(error).__name__
    reason = f"{name}: {text}" if text else name
    # File names may contain bytes that are not text, which no store accepts.
    return reason.encode(errors="backslashreplace").decode()[:MAX_REASON]


def stacktrace_of(error: BaseException) -> str:
    """Where it failed, as the store keeps it."""
    try:
        lines = traceback.format_exception(type(error), error, from_the_handler(error.__traceback__))
        return json.dumps(["".join(lines)[-MAX_STACKTRACE:]])
    except BaseException:
        return json.dumps([reason_of(error)])
