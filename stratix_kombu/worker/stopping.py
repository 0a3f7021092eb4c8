"""What is logged while workers stop: for how many jobs they wait, and at intervals for which."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stratix_kombu.worker.attempt_log import some

if TYPE_CHECKING:
    from stratix_kombu.worker.worker import Worker

logger = logging.getLogger("stratix_kombu.worker")


def log_signal(number: int) -> None:
    """Say that the process has been asked to stop, by a signal."""
    logging.getLogger("stratix_kombu").info(
        "%s: no further job is started here; a second signal ends the process at once, "
        "and its jobs then wait until their leases expire",
        signal.Signals(number).name,
        extra={"action": "signal_received"},
    )


def log_stopping(workers: Sequence[Worker], patience: float | None) -> None:
    """Say how many jobs are waited for, and for how many seconds at most; nothing without workers."""
    if not workers:
        return
    jobs = sum(worker.active for worker in workers)
    until = "" if patience is None else f", up to {patience:g} s"
    logger.info(
        "stopping, %s",
        f"waiting for {jobs} job{'' if jobs == 1 else 's'}{until}" if jobs else "no job runs",
        extra={"action": "stopping", "jobs": jobs},
    )


def log_who_still_runs(workers: Sequence[Worker]) -> None:
    """Say which jobs are still waited for."""
    found = [one for worker in workers for one in worker.running]
    if found:
        logger.info("still waiting for %s", some(found), extra={"action": "still_stopping", "jobs": len(found)})
