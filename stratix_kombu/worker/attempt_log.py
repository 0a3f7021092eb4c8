"""What is logged about an attempt. Each message names the job, for programs whose logging shows only messages."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from stratix_kombu.model.record import Failure, JobRecord
from stratix_kombu.model.text import printable

logger = logging.getLogger("stratix_kombu.worker")

SHOWN = 10
"""Jobs that a message names."""
MAX_REASON = 500
"""Characters of a reason in a log message; the record keeps more."""


def about(job_id: str, name: str, queue: str) -> str:
    """How a message names a job."""
    return f"job {job_id} ({printable(name)}, queue {queue})"


class Running(NamedTuple):
    """A job whose handler is running."""

    job_id: str
    name: str
    queue: str
    began: float
    """On the clock of ``time.monotonic``."""

    def __str__(self) -> str:
        return f"{about(self.job_id, self.name, self.queue)}, for {time.monotonic() - self.began:.0f} s"


def some(jobs: Sequence[Running]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(jobs) - SHOWN} more" if len(jobs) > SHOWN else ""
    return "; ".join(map(str, jobs[:SHOWN])) + more


def log_cancelled(job_id: str, name: str, queue: str) -> None:
    """A job that runs was cancelled."""
    extra = {"action": "job_cancelled", "job_id": job_id, "queue": queue, "job_name": name}
    logger.info("%s was cancelled: its handler is notified", about(job_id, name, queue), extra=extra)


def log_failure(record: JobRecord, failure: Failure, error: BaseException | None = None) -> None:
    """An attempt has failed: WARNING if there is another one, else ERROR with the traceback of ``error``, or with the
    one that a sandbox has sent."""
    retry_ms = failure.retry_ms
    attempt = record.attempts_made + 1
    shown = f"{attempt} of {record.max_attempts}" if attempt <= record.max_attempts else f"{attempt}"
    job, why = about(record.id, record.name, record.queue), _shown(failure)
    extra = {**_extra(record), "action": "attempt_failed" if retry_ms is not None else "job_failed"}
    if retry_ms is not None:
        extra["retry_ms"] = retry_ms
        logger.warning("%s: attempt %s failed, next in %d ms: %s", job, shown, retry_ms, why, extra=extra)
        return
    _log(logging.ERROR, "%s failed for good with attempt %s: %s", (job, shown, why), failure, error, extra)


def log_without_effect(record: JobRecord, failure: Failure, error: BaseException | None) -> None:
    """A handler has failed after the transaction that completed its job was committed: WARNING, with the traceback."""
    text = "%s was completed by its handler's transaction, and what its handler raised after that changes nothing: %s"
    args = (about(record.id, record.name, record.queue), _shown(failure))
    _log(logging.WARNING, text, args, failure, error, {**_extra(record), "action": "failed_after_completion"})


def _shown(failure: Failure) -> str:
    return printable(failure.reason[:MAX_REASON]).replace("\n", "\\n")


def _extra(record: JobRecord) -> dict[str, Any]:
    attempt = record.attempts_made + 1
    return {"job_id": record.id, "queue": record.queue, "job_name": record.name, "attempt": attempt}


def _log(
    level: int, text: str, args: tuple[Any, ...], failure: Failure, error: BaseException | None, extra: dict[str, Any]
) -> None:
    """With the traceback."""
    if not logger.isEnabledFor(level):
        return
    # The first frame is our own call of the handler.
    info = None if error is None else (type(error), error, error.__traceback__ and error.__traceback__.tb_next)
    made = logger.makeRecord(logger.name, level, __file__, 0, text, args, info, "log_failure", extra)
    # Logging handlers write this text instead of formatting ``info``. Invalid characters in it are escaped, since no
    # file in UTF-8 takes it.
    lines = "\n".join(json.loads(failure.stacktrace)) if failure.stacktrace else ""
    made.exc_text = lines.rstrip("\n").encode(errors="backslashreplace").decode() or None
    logger.handle(made)
