"""The states of a job, and the reasons for which a claim is refused."""

from __future__ import annotations

from enum import Enum


class State(str, Enum):
    """Where a job is in its life. While a queue is paused its waiting jobs are counted as ``paused``."""

    WAITING = "waiting"
    ACTIVE = "active"
    DELAYED = "delayed"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value

    @property
    def finished(self) -> bool:
        return self in (State.COMPLETED, State.FAILED)


class Sweep(str, Enum):
    """What may be done to all jobs of a queue in one state."""

    REMOVE = "remove"
    RETRY = "retry"
    """failed -> waiting"""
    PROMOTE = "promote"
    """delayed -> waiting"""

    def __str__(self) -> str:
        return self.value


class Action(str, Enum):
    """What can be done to jobs that are named by their ids."""

    REMOVE = "remove"
    RETRY = "retry"
    PROMOTE = "promote"
    CANCEL = "cancel"

    def __str__(self) -> str:
        return self.value


class Refusal(str, Enum):
    """Why a claim was refused, or why a take gave fewer jobs than were wanted; in every case the message may be
    acknowledged and dropped."""

    GONE = "gone"
    """The store has no such job."""
    NOT_WAITING = "not_waiting"
    """Finished, active elsewhere, delayed or blocked: a late or second message."""
    PAUSED = "paused"
    """The queue is paused."""
    LIMITED = "limited"
    """A rate limit is used up, or the queue is held. The job stays waiting, in its place."""
    CROWDED = "crowded"
    """As many jobs of the queue, or of the group of the job that was named, are active as may be. It stays waiting."""
    EMPTY = "empty"
    """Nothing waits that may start, though the queue is open."""

    def __str__(self) -> str:
        return self.value


NEVER_SENT = "what it waited for ended without sending it"
"""The reason of a vacant job that failed since nobody took it over."""
BY_HAND = "by hand"
"""The kind of a vacant job that only holds what was stored by hand, as its progress: it is removed when its delay is
over. See ``NewJob.kind``."""
