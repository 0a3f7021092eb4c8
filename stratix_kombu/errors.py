"""Every error of the package, in one tree.

    StratixError
      ConfigurationError (ValueError)      a setting or option that cannot be used
        UnknownDriver                      no driver of that name
        MissingExtra                       an optional package is not installed
        JobIdTaken                         a job of another queue has that id
      InvalidPayload (ValueError)
        PayloadNotSerializable             not a JSON value
        PayloadTooLarge                    over the size limit
      JobError
        JobNotFound (LookupError)
        DependencyNotFound (LookupError)
        DependencyCycle
        JobAlreadyStarted                  edges of a job that has begun cannot change
        InvalidJobState                    the operation does not fit the job's state
        JobFailed                          the job that was waited for failed
        JobCancelled                       raised within a handler whose job should stop
        StaleClaim                         the worker lost the job's lease
      RepeatableJobNotFound (LookupError)
      RecordLost                           reported: jobs whose record cannot be read were dropped
      QueueNotEmpty                        it has active jobs
      WaitTimeout (TimeoutError)
      Unavailable (ConnectionError)
        StoreUnavailable
        DriverUnavailable
      Closed                               the queue or application was closed
      EventsMissed                         emitted by 'error': listeners missed some events
      RateLimited                          raised by a handler: start nothing of its queue for a while
      UnrecoverableError                   raised by a handler: fail without further attempts

Errors keep their arguments as attributes and survive pickling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from stratix_kombu.foreign import ERROR
from stratix_kombu.hints import Hinted, nearest as nearest, nearest_option as nearest_option


class StratixError(Hinted, Exception):
    """Root of all errors raised by this package."""

    _foreign: ClassVar[Mapping[str, str]] = ERROR

    def __reduce__(self) -> tuple[Any, ...]:
        return (rebuild, (type(self), self.args, self.__dict__))


def rebuild(cls: type[StratixError], args: tuple[Any, ...], state: dict[str, Any]) -> StratixError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(StratixError, ValueError):
    """A setting or option cannot be used as given."""


class UnknownDriver(ConfigurationError):
    """No driver is registered under that name."""

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        self.name = name
        self.known: tuple[str, ...] = tuple(sorted(known))
        super().__init__(f"no queue driver is called {name!r}{nearest(name, self.known)}")


class MissingExtra(ConfigurationError):
    """An optional package is needed and not installed."""

    def __init__(self, extra: str, package: str, needed_for: str) -> None:
        self.extra = extra
        self.package = package
        self.needed_for = needed_for
        super().__init__(f"{needed_for} needs the package {package!r}: pip install 'stratix-kombu[{extra}]'")


class JobIdTaken(ConfigurationError):
    """A job of another queue already has that id; nothing was added."""

    def __init__(self, job_id: str, queue: str) -> None:
        self.job_id = job_id
        self.queue = queue
        super().__init__(f"the job id {job_id!r} is taken by a job of another queue, {queue!r}")


class InvalidPayload(StratixError, ValueError):
    """A job's data, result or progress cannot be stored."""


class PayloadNotSerializable(InvalidPayload):
    """A value is not JSON: only None, bool, int, finite float, str, list and dict with str keys are."""

    def __init__(self, what: str, problem: str) -> None:
        self.what = what
        self.problem = problem
        super().__init__(f"{what} is not a JSON value: {problem}")


class PayloadTooLarge(InvalidPayload):
    """A value is larger than the limit, in bytes of UTF-8 JSON."""

    def __init__(
        self,
        what: str,
        size: int,
        limit: int,
        remedy: str = "store it elsewhere and pass a reference, or raise 'max_payload_bytes'",
    ) -> None:
        self.what = what
        self.size = size
        self.limit = limit
        super().__init__(f"{what} has {size} bytes as JSON, which exceeds the limit of {limit}: {remedy}")


class QueueNotEmpty(StratixError):
    """The queue has active jobs."""

    def __init__(self, queue: str, active: int) -> None:
        self.queue = queue
        self.active = active
        super().__init__(
            f"queue {queue!r} has {active} active jobs: wait for them, or pass force=True, which loses their results"
        )


class JobError(StratixError):
    """The parent class of errors about one job; ``job_id`` names it."""

    def __init__(self, job_id: str, message: str) -> None:
        self.job_id = job_id
        super().__init__(message)


class JobNotFound(JobError, LookupError):
    """The store has no such job: it was never added, was removed, or its retention has expired."""

    def __init__(self, job_id: str, queue: str | None = None) -> None:
        self.queue = queue
        where = f" in queue {queue!r}" if queue else ""
        super().__init__(
            job_id, f"no job {job_id!r}{where}: it was never added, was removed, or its retention has expired"
        )


class RepeatableJobNotFound(StratixError, LookupError):
    """The queue has no repeatable job with that key."""

    def __init__(self, key: str, queue: str) -> None:
        self.key = key
        self.queue = queue
        self.what = f"queue {queue!r} has no repeatable job with the key {key!r}"
        super().__init__(f"{self.what}: see get_repeatable_jobs()")


class DependencyNotFound(JobError, LookupError):
    """A dependency names a job that the namespace does not have."""

    def __init__(self, job_id: str, dependency_id: str) -> None:
        self.dependency_id = dependency_id
        super().__init__(job_id, f"job {job_id!r} cannot depend on {dependency_id!r}: the namespace has no such job")


class DependencyCycle(JobError):
    """The dependency would make a job wait for itself."""

    def __init__(self, job_id: str, dependency_id: str) -> None:
        self.dependency_id = dependency_id
        super().__init__(job_id, f"job {job_id!r} cannot depend on {dependency_id!r}: it would wait for itself")


class JobAlreadyStarted(JobError):
    """The dependencies of a job can only change before it starts."""

    def __init__(self, job_id: str, state: str) -> None:
        self.state = state
        super().__init__(job_id, f"job {job_id!r} is {state}: its dependencies can no longer change")


class InvalidJobState(JobError):
    """The operation does not fit the state the job is in."""

    def __init__(self, job_id: str, state: str, operation: str, allowed: Iterable[str]) -> None:
        self.state = state
        self.operation = operation
        self.allowed: tuple[str, ...] = tuple(allowed)
        super().__init__(job_id, f"cannot {operation} job {job_id!r}: it is {state}, not {' or '.join(self.allowed)}")


class JobFailed(JobError):
    """The job that was waited for failed; ``reason`` says why."""

    def __init__(self, job_id: str, reason: str) -> None:
        self.reason = reason
        super().__init__(job_id, f"job {job_id!r} failed: {reason}")


class JobCancelled(JobError):
    """Raised by ``job.check_cancelled()`` in a handler: the job should stop. It is not tried again."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, f"job {job_id!r} was cancelled, or its worker has lost it")


class StaleClaim(JobError):
    """The worker lost the job's lease: another worker may be running it."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, f"the claim on job {job_id!r} is no longer held: its lease expired, or it was removed")


class RecordLost(StratixError):
    """Jobs of a queue were dropped because their record in the store could not be read: it was evicted, deleted by hand
    or overwritten. This error is reported by the event ``error`` and never raised."""

    def __init__(self, queue: str, lost: Mapping[str, str]) -> None:
        self.queue = queue
        self.ids: tuple[str, ...] = tuple(lost)
        """Which jobs."""
        named = ", ".join(f"{job_id} ({why})" for job_id, why in list(lost.items())[:10])
        more = f" and {len(lost) - 10} more" if len(lost) > 10 else ""
        super().__init__(f"dropped {len(lost)} whose record could not be read: {named}{more}")


class WaitTimeout(StratixError, TimeoutError):
    """Waiting took longer than the given timeout, in seconds."""

    def __init__(self, what: str, timeout: float, hint: str = "") -> None:
        self.what = what
        self.timeout = timeout
        super().__init__(f"{what} after {timeout:g} s{hint}")


class Unavailable(StratixError, ConnectionError):
    """A server cannot be reached or refuses the connection; ``where`` never contains credentials."""

    kind = "server"

    def __init__(self, where: str, problem: str) -> None:
        self.where = where
        self.problem = problem
        super().__init__(f"the {self.kind} {where} is unavailable: {problem}")


class StoreUnavailable(Unavailable):
    """The store cannot be reached, refuses the credentials, or has not answered in time. The call may have taken
    effect; if so, once."""

    kind = "store"


class DriverUnavailable(Unavailable):
    """The broker cannot be reached or refuses the credentials."""

    kind = "broker"


class Closed(StratixError):
    """The queue or application was closed."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} is closed")


class EventsMissed(StratixError):
    """Emitted by the event ``error``: listeners of this process missed ``count`` events. Either the log had dropped
    them before they were read, or the listener of ``event`` was too slow and its buffer is full."""

    def __init__(self, where: str, count: int, event: str = "") -> None:
        self.where = where
        self.count = count
        self.event = event
        who = f"a listener of {event!r} was too slow" if event else "the log no longer had them"
        super().__init__(f"{count} events of {where} were missed: {who}")


class RateLimited(StratixError):
    """Raised by a handler: no job of its queue starts for ``retry_after`` (milliseconds or a timedelta), in any
    process. The job itself is given back, and no attempt is counted."""

    def __init__(self, retry_after: float | timedelta) -> None:
        self.retry_after = retry_after
        super().__init__(retry_after)

    def __str__(self) -> str:
        return f"the queue must not start jobs for {self.retry_after!r}"


class UnrecoverableError(StratixError):
    """Raised by a handler: the job fails at once, whatever attempts are left.

    >>> raise UnrecoverableError("card was stolen")  # doctest: +SKIP
    """
