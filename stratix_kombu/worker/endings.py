"""What ends an attempt before its handler does: its time, a cancellation, the loss of its lease. The same for both
hosts, the worker and Celery's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stratix_kombu.errors import StaleClaim
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Failure
from stratix_kombu.worker.attempt_log import log_cancelled

if TYPE_CHECKING:
    from stratix_kombu.worker.attempt import Attempt
    from stratix_kombu.worker.coroutines import LoopExecutor
    from stratix_kombu.worker.holdings import Holdings


class Endings:
    """Ends attempts of one queue early. A coroutine is cancelled; a function on a thread cannot be interrupted, but it
    can check ``job.cancelled``."""

    def __init__(self, engine: Engine, queue: str, holdings: Holdings, loop: LoopExecutor) -> None:
        self._engine = engine
        self._queue = queue
        self._holdings = holdings
        self._cancellations = engine.cancellations
        self._loop = loop

    def time_out(self, attempt: Attempt) -> Failure | None:
        """It has exceeded its timeout: returns the outcome, or None if it has finished meanwhile or was lost, or has
        stored its outcome. Its thread runs on until the function returns, and keeps its slot."""
        if not self._holdings.give_up(attempt.token):
            return None
        self._cancellations.ask(attempt.token)
        failure = attempt.timed_out()
        if failure is None:
            self._holdings.note_stored(attempt.token)
        return failure

    def lose(self, token: str) -> None:
        """The lease expired while the handler was running. Its outcome is not sent to the store, which would reject
        it. A handler that has completed its job within its own transaction goes on."""
        if self._cancellations.is_spared(token):
            return
        running = self._holdings.lose(token)
        if running is not None:
            self._engine.report(self._queue, StaleClaim(running.job_id), "lease_lost")
            self._end(token)

    def cancel(self, token: str) -> None:
        """Somebody wants the job to end."""
        running = self._holdings.running(token)
        if running is not None and not self._cancellations.is_asked(token):
            log_cancelled(running.job_id, running.name, self._queue)
            self._end(token)

    def _end(self, token: str) -> None:
        self._cancellations.ask(token)
        self._loop.cancel(token)

    def ended(self, token: str) -> tuple[bool, bool]:
        """The handler has returned; returns whether its attempt was over before that, and whether it was lost."""
        ended = self._holdings.ended(token)
        self._cancellations.forget(token)
        return ended
