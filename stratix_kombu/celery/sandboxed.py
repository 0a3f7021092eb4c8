"""Tasks in sandboxes, seen from the worker: the tracer runs in the child, and what Celery's main process does is done
here. It is the attempt's thread that watches the child."""

from __future__ import annotations

import base64
import json
import logging
from typing import TYPE_CHECKING, Any

from celery.exceptions import TimeLimitExceeded, WorkerLostError
from kombu.utils import json as kombu_json

from stratix_kombu.celery.ended import Ended
from stratix_kombu.celery.hosted_attempt import TaskAttempt
from stratix_kombu.celery.sandbox_options import options_of
from stratix_kombu.errors import JobCancelled
from stratix_kombu.model.message import OtherMessage
from stratix_kombu.model.record import Claim
from stratix_kombu.worker.attempt import Attempt, Attempts, Outcome, Postponed
from stratix_kombu.worker.sandbox.protocol import SandboxFailure, SandboxStarved
from stratix_kombu.worker.sandbox.source import Source
from stratix_kombu.worker.sandbox.supervision import Terms
from stratix_kombu.worker.timeouts import Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from stratix_kombu.celery.hosted import HostedTasks

logger = logging.getLogger("stratix_kombu.celery")


class SandboxedAttempt(TaskAttempt):
    """One attempt at a task in a child."""

    __slots__ = ("_source",)

    def __init__(self, host: HostedTasks, of: Attempts, claim: Claim, message: OtherMessage, source: Source) -> None:
        super().__init__(host, of, claim, message)
        self._source = source
        self.is_sandboxed = True

    @property
    def needs_timeouts(self) -> bool:
        return False

    def run_in_time(self, timeouts: Timeouts, over: Callable[[Attempt], None]) -> Outcome | None:
        return self.run()

    def interrupt(self) -> None:
        """It is revoked: its child is killed."""
        self._why = "revoked"

    def _trace(self, task: Any, request: dict[str, Any]) -> Outcome | None:
        pool = self._of.settings.sandboxes
        assert pool is not None
        pool = pool.limited(options_of(task, pool.options))
        limits = [one for one in (self.timeout_s, pool.options.timeout_ms / 1000) if one]
        self._host.tell_begin(task, self._message, request)
        try:
            job = self._of.make_job(self.claim)
            terms = Terms(self._attributes(), self._soft_s, self._exceed_softly)
            told = json.loads(pool.run(self._source, job, min(limits, default=None), terms))
        except JobCancelled as error:  # before it has begun
            return self._ended_by(error)
        except SandboxStarved as problem:
            logger.warning("task %s was handed back: %s", self.claim.record.id, problem)
            return Postponed(self.claim.record.id, self.token, 0)
        except SandboxFailure as failure:
            return self._ended_with_child(request["id"], failure, min(limits, default=0.0))
        self._host.tell_end(task, request["id"], Ended(**told))
        return None  # the child has stored it

    def _attributes(self) -> dict[str, Any]:
        record, message = self.claim.record, self._message
        body = message.body.encode() if isinstance(message.body, str) else message.body
        return {
            "id": record.id,
            "name": record.name,
            "queue_name": record.queue,
            "attempts_made": record.attempts_made,
            "attempts_started": record.attempts_started,
            "failed_reason": record.failed_reason,
            "data": {
                "token": self.token,
                "message": {
                    "head": kombu_json.dumps([message.headers, message.properties]),  # may have dates
                    "body": base64.b64encode(body).decode(),
                    "is_text": isinstance(message.body, str),
                    "content": [message.content_type, message.content_encoding],
                },
            },
        }

    # -- what becomes of it without its child ------------------------------------------------------

    def _ended_with_child(self, task_id: str, failure: SandboxFailure, limit: float) -> Outcome | None:
        """Its child was killed, or has died: as Celery's main process deals with it."""
        if failure.cause == "cancelled" or self._of.settings.cancellations.is_asked(self.token):
            return self._ended_by(failure)
        if failure.cause == "time":
            logger.error("Hard time limit (%ss) exceeded for %s[%s]", limit, self._name, task_id)
            return self._fails(TimeLimitExceeded(limit), "")
        logger.error("task %s[%s] was lost: %s", self._name, task_id, failure.reason)
        printed = "\n".join(json.loads(failure.stacktrace)) if failure.stacktrace else ""
        return self._ends_lost(WorkerLostError(failure.reason), printed)
