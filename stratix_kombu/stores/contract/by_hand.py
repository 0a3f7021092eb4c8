"""What is done to queues and jobs by hand: every method is one atomic step, as those of ``Transitions``."""

from __future__ import annotations

from abc import ABC, abstractmethod

from stratix_kombu.model.record import Added, Change, Limit, NewJob
from stratix_kombu.model.state import State, Sweep

PAGE = 250
"""How many jobs, or edges of jobs, one step touches at most, where the caller does not say. Further steps do what is
left of it: ``Change.more``."""


class ByHand(ABC):
    """Pauses, limits and holds of queues; retries, removals and sweeps of jobs."""

    @abstractmethod
    def pause(self, queue: str) -> bool:
        """No job of the queue is claimed from now on; whether that is a change. Event ``paused``."""

    @abstractmethod
    def resume(self, queue: str, limit: int = PAGE) -> Change:
        """End the pause, and send what is owed and may start now. Event ``resumed``."""

    @abstractmethod
    def set_limit(self, queue: str, limit: Limit | None) -> Change:
        """Set the queue's limit for all workers, instead of the one they bring; None leaves it to them again. It acts
        at once: permits that are owed are sent for what may start now."""

    @abstractmethod
    def set_global_concurrency(self, queue: str, global_concurrency: int | None) -> Change:
        """Set the bound of active jobs for all workers, instead of the one they bring (0 = none); None leaves it to
        them again. It acts at once, as for ``set_limit``."""

    @abstractmethod
    def hold(self, queue: str, for_ms: int) -> Change:
        """Let no job of the queue start for this long. A hold that lasts longer is not shortened; 0 lifts it, and sends
        permits that are owed for what may start now."""

    @abstractmethod
    def retry(self, job_id: str) -> Change:
        """failed -> waiting, with the attempts it has made kept. Dependents that failed because of it wait for it
        again. Event ``waiting``. Raises JobNotFound, InvalidJobState."""

    @abstractmethod
    def rerun(self, job_id: str, dependents: bool = False) -> Change:
        """completed -> waiting, with the attempts it has made kept and its result forgotten. Dependents are not
        affected; those that were not told yet how it ended are told of its next end. With ``dependents``, everything
        that depends on it, directly or not, waits for it again: what has not begun becomes blocked, what has completed
        or failed by itself runs again, what failed because of another job goes on to wait for that one, and what is
        active is left alone. The dependents follow page by page, see ``release``. Event ``waiting``, and ``blocked``
        for the dependents. Raises JobNotFound, InvalidJobState."""

    @abstractmethod
    def redrive(self, letter_id: str, number: int, job: NewJob) -> Added | None:
        """Remove a letter that waits or is delayed and add ``job``, in one step, as ``remove`` and ``add`` do. None, if
        there is no such job of that number any more, or if the id of ``job`` is known: somebody else was first, and
        the letter stays as it is."""

    @abstractmethod
    def cancel(self, job_id: str, reason: str, error: str = "") -> Change:
        """End a job that has not begun: -> failed, with ``error`` as for ``fail``. An active one is marked: ``renew``
        tells its worker, and from now on it makes no other attempt, whether it fails, is handed over or back, or
        loses its lease: it has failed with the reason given here, whatever its handler says. It leaves no dead letter,
        and tells no ``retries_exhausted``. A job that failed so is ``cancelled`` in its record, and is counted as that
        and not as failed. Raises JobNotFound, InvalidJobState for one that has ended."""

    @abstractmethod
    def promote_job(self, job_id: str) -> Change:
        """delayed -> waiting, now. Raises JobNotFound, InvalidJobState."""

    @abstractmethod
    def change_delay(self, job_id: str, delay_ms: int) -> Change:
        """delayed -> delayed until ``delay_ms`` from now, or waiting if that is 0; why it was delayed does not matter.
        Events ``delayed`` or ``waiting``. Raises JobNotFound, InvalidJobState."""

    @abstractmethod
    def remove(self, job_id: str) -> Change:
        """Delete a job that is not active, with its logs. To its dependents it has failed, with the reason
        ``dependency <id> was removed``, unless it was completed. Event ``removed``. Raises JobNotFound,
        InvalidJobState."""

    @abstractmethod
    def sweep(
        self, queue: str, action: Sweep, state: State, older_ms: int = 0, limit: int = PAGE, cursor: str = ""
    ) -> Change:
        """Remove, retry or promote jobs of one state, in the order of ``find`` reversed for ended ones (oldest first),
        at most ``limit`` in a step; ``affected`` names them. Only those that ended, or for the others were added, at
        least ``older_ms`` before the first step. Jobs that failed because of a dependency are not retried: they wait
        for it again when that is. Active jobs are removed too, where that state is named: their claims are lost.

        The next step is given the ``cursor`` of the answer; it is '' when all have been looked at. A page may be empty
        before that, for a step looks at a bounded number of jobs. Together the steps reach every job that was in the
        state all the while, however many there are, and each once, even if it comes back into the state meanwhile.

        A removal tells dependents as ``remove`` does, and the event ``cleaned`` with the count; the others are told
        as ``retry`` and ``promote_job`` do. With ``more``, dependents are left to be told: see ``release``.
        """

    @abstractmethod
    def forget_queue(self, queue: str) -> bool:
        """Forget a queue that has no jobs, its events, pause, limits and what was counted; not its workers. False if it
        has jobs."""
