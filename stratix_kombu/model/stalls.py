"""Why a job failed that stalled too often: its worker stopped renewing the lease."""

from __future__ import annotations

import re

from stratix_kombu.model.record import JobRecord

_REASON = re.compile(r"stalled more than \d+ times: its worker stopped renewing the lease")


def stalled_reason(allowed: int) -> str:
    """The reason of a job that stalled more often than is allowed; the same in every store."""
    return f"stalled more than {allowed} times: its worker stopped renewing the lease"


def failed_by_stalling(record: JobRecord) -> bool:
    """Whether the job failed because it stalled too often, and not by what its handler raised."""
    reason = record.failed_reason or ""
    return record.stalled_count > 0 and record.stacktrace is None and _REASON.fullmatch(reason) is not None
