"""Tasks of Celery in the worker: their messages name their jobs, so these are claimed by their ids, many in one call,
in the order in which the broker brings them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stratix_kombu.drivers.contract import Delivery
from stratix_kombu.lifecycle.claim import claim
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.outcomes import hand_back
from stratix_kombu.model.claims import Bounds, Claimed
from stratix_kombu.model.message import OtherMessage
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import Claim, Held
from stratix_kombu.model.state import Refusal
from stratix_kombu.worker.attempt import Attempt, Attempts
from stratix_kombu.worker.heartbeat import Heartbeat


class TaskHost(Protocol):
    """What knows the tasks of an application: the bridge to Celery, for one queue."""

    def job_id(self, message: OtherMessage) -> str | None:
        """The job that a message names; '' if it is a task that is no job, None if it is no task."""

    def adopt(self, messages: Sequence[OtherMessage]) -> list[bool]:
        """Add the jobs of messages whose producers do not know of the store; of which of them there is one now."""

    def attempt(self, attempts: Attempts, claim: Claim, message: OtherMessage) -> Attempt:
        """The attempt at a task whose job was claimed."""

    def unclaimed(self, attempts: Attempts, message: OtherMessage) -> Attempt:
        """The attempt at a task that is no job."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A claim whose answer was lost."""

    messages: dict[str, OtherMessage]
    request: str
    until: float
    """When its lease has ended, on the clock of ``time.monotonic``."""


class Natives:
    """Of one queue."""

    def __init__(
        self, engine: Engine, queue: str, bounds: Bounds, heartbeat: Heartbeat, attempts: Attempts, host: TaskHost
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._bounds = bounds
        self._heartbeat = heartbeat
        self._attempts = attempts
        self._host = host
        self._asked: _Asked | None = None

    def split(self, others: Sequence[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
        """Which of these messages are tasks, and which are not."""
        tasks: list[Delivery] = []
        rest: list[Delivery] = []
        for other in others:
            known = other.other is not None and self._host.job_id(other.other) is not None
            (tasks if known else rest).append(other)
        return tasks, rest

    def begin(self, deliveries: Sequence[Delivery]) -> tuple[list[Attempt], Refusal | None]:
        """The attempts that these messages have brought, and why nothing of the queue starts now, if that is so. Raises
        Unavailable; then ``again`` is to be called before anything else."""
        messages: dict[str, OtherMessage] = {}
        attempts: list[Attempt] = []
        for delivery in deliveries:
            assert delivery.other is not None
            job_id = self._host.job_id(delivery.other)
            if job_id:
                messages[job_id] = delivery.other
            else:
                attempts.append(self._host.unclaimed(self._attempts, delivery.other))
        if not messages:
            return attempts, None
        claimed, why = self._claim(messages, new_request())
        return [*attempts, *claimed], why

    def again(self) -> list[Attempt]:
        """The attempts that a claim has made whose answer was lost."""
        asked = self._asked
        if asked is None:
            return []
        if time.monotonic() > asked.until:
            self._asked = None
            return []
        return self._claim(asked.messages, asked.request)[0]

    def hand_back(self) -> None:
        """At the end nothing begins any more: what such a claim has claimed goes to others. Raises Unavailable."""
        hand_back(self._engine, [Held(one.claim.record.id, one.token) for one in self.again()])

    def _claim(self, messages: dict[str, OtherMessage], request: str) -> tuple[list[Attempt], Refusal | None]:
        self._asked = _Asked(messages, request, time.monotonic() + self._heartbeat.lease_ms / 1000)
        claimed = self._try(messages, request)
        unknown = (Refusal.GONE, Refusal.NOT_WAITING)  # of what may be claimed once it was adopted
        new = [messages[one.job_id] for one in claimed.refused if one.why in unknown]
        if new and any(self._host.adopt(new)):
            claimed = self._try(messages, request)  # what is claimed already is answered again
        self._asked = None
        why = next((one.why for one in claimed.refused if one.why in (Refusal.PAUSED, Refusal.CROWDED)), None)
        return [self._host.attempt(self._attempts, one, messages[one.record.id]) for one in claimed.claims], why

    def _try(self, messages: dict[str, OtherMessage], request: str) -> Claimed:
        worker, lease_ms = self._heartbeat.id, self._heartbeat.lease_ms
        return claim(self._engine, self._queue, list(messages), worker, lease_ms, self._bounds, request=request)
