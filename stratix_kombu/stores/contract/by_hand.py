"""Operations on queues and jobs by hand: every method is one atomic step, as in ``Transitions``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from stratix_kombu.model.record import Added, Change, Limit, NewJob
from stratix_kombu.model.state import Action, State, Sweep

PAGE = 250
"""The most jobs, or edges of jobs, that one step touches, unless the caller gives a limit. Further steps do the rest:
``Change.more``."""


class ByHand(ABC):
    """Pauses, limits and holds of queues; retries, removals and sweeps of jobs."""

    @abstractmethod
    def pause(self, queue: str) -> bool:
        """No job of the queue is claimed from now on; whether that is a change. Event ``paused``."""

    @abstractmethod
    def resume(self, queue: str, limit: int = PAGE) -> Change:
        """End the pause, and send the permits owed for jobs that may start now. Event ``resumed``."""

    @abstractmethod
    def set_limit(self, queue: str, limit: Limit | None) -> Change:
        """Set the queue's limit for all workers, instead of the one they bring; with None, the workers' own limits
        apply again. It takes effect at once: permits owed for jobs that may start now are sent."""

    @abstractmethod
    def set_global_concurrency(self, queue: str, global_concurrency: int | None) -> Change:
        """Set the bound of active jobs for all workers, instead of the one they bring (0 = none); with None, the
        workers' own bounds apply again. It takes effect at once, as ``set_limit`` does."""

    @abstractmethod
    def hold(self, queue: str, for_ms: int) -> Change:
        """Start no job of the queue for this long. A longer hold is not shortened; 0 lifts it, and sends the permits
        owed for jobs that may start now."""

    @abstractmethod
    def retry(self, job_id: str) -> Change:
        """failed -> waiting, with the attempts it has made kept. Dependents that failed because of it wait for it
        again. Event ``waiting``. Raises JobNotFound, InvalidJobState."""

    @abstractmethod
    def rerun(self, job_id: str, dependents: bool = False) -> Change:
        """completed -> waiting; its attempts still count and its result is discarded. Dependents are not affected;
        those that were not released yet are released when it finishes again. With ``dependents``, everything that
        depends on it, directly or not, waits for it again: jobs that have not started become blocked, jobs that have
        completed or failed by themselves run again, jobs that failed because of another dependency keep waiting for
        that one, and active jobs are left alone. The dependents follow page by page, see ``release``. Event
        ``waiting``, and ``blocked`` for the dependents. Raises JobNotFound, InvalidJobState."""

    @abstractmethod
    def redrive(self, letter_id: str, number: int, job: NewJob) -> Added | None:
        """Remove a letter that waits or is delayed and add ``job``, in one step, as ``remove`` and ``add`` do. None if
        there is no such job of that number any more, or if the id of ``job`` is known: another caller was first, and
        the letter stays as it is."""

    @abstractmethod
    def cancel(self, job_id: str, reason: str, error: str = "") -> Change:
        """Cancel a job that has not started: -> failed, with ``error`` as for ``fail``. An active job is marked:
        ``renew`` notifies its worker, and it gets no further attempt, whether it fails, is handed over or back, or
        loses its lease: it fails with the reason given here, whatever its handler raises. It leaves no dead letter, and
        does not emit ``retries_exhausted``. Such a job is ``cancelled`` in its record, and is counted as cancelled and
        not as failed. Raises JobNotFound, InvalidJobState for one that has ended."""

    @abstractmethod
    def promote_job(self, job_id: str) -> Change:
        """delayed -> waiting, now. Raises JobNotFound, InvalidJobState."""

    @abstractmethod
    def change_delay(self, job_id: str, delay_ms: int) -> Change:
        """delayed -> delayed until ``delay_ms`` from now, or waiting if that is 0; why it was delayed does not matter.
        Events ``delayed`` or ``waiting``. Raises JobNotFound, InvalidJobState, also for a vacant job, unless it is of
        the kind ``BY_HAND`` and goes on being delayed."""

    @abstractmethod
    def change_priority(self, job_id: str, priority: int) -> Change:
        """Give a job another priority before it starts. One that waits stands behind those that wait with that
        priority already, and has waited for as long as it had; if the priority is the same, it keeps its place. A
        delayed or blocked job is put into the order by it when it becomes waiting. No event. Raises JobNotFound,
        InvalidJobState for other states, for a vacant job, and for a native one that waits: its message is in the
        broker's queue already, in a place of its own."""

    @abstractmethod
    def remove(self, job_id: str) -> Change:
        """Delete a job that is not active, with its logs. To its dependents it has failed, with the reason
        ``dependency <id> was removed``, unless it was completed. Event ``removed``. Raises JobNotFound,
        InvalidJobState."""

    @abstractmethod
    def each(
        self, queue: str, action: Action, ids: Sequence[str], state: State | None = None, reason: str = ""
    ) -> Change:
        """Do to each of these jobs, at most ``PAGE``, what ``remove``, ``retry``, ``promote_job`` or ``cancel`` (with
        that ``reason``) does; ``affected`` names those to which it was done. Left out are jobs that do not exist, are
        of another queue, or are in a state that does not allow it. With a ``state``, that in which a rule has found
        them, so are jobs that are no longer in it, and as in ``sweep`` those that failed because of a dependency are
        not retried. With ``more``, some dependents are not released yet: see ``release``."""

    @abstractmethod
    def sweep(
        self, queue: str, action: Sweep, state: State, older_ms: int = 0, limit: int = PAGE, cursor: str = ""
    ) -> Change:
        """Remove, retry or promote jobs of one state, in the order of ``find`` reversed for ended ones (oldest first),
        at most ``limit`` in a step; ``affected`` names them. Only those that ended, or for the others were added, at
        least ``older_ms`` before the first step. Jobs that failed because of a dependency are not retried: they wait
        for it again when that is. Active jobs are removed too, where that state is named: their claims are lost.

        Pass the returned ``cursor`` to the next step; it is '' when all jobs have been examined. A page may be empty
        before that, since a step examines a bounded number of jobs. Together the steps reach every job that was in the
        state the whole time, however many there are, and each once, even if it returns to the state meanwhile. A
        removal releases dependents as ``remove`` does, and emits ``cleaned`` with the count; the other operations emit
        what ``retry`` and ``promote_job`` do. With ``more``, some dependents are not released yet: see ``release``."""

    @abstractmethod
    def forget_queue(self, queue: str) -> bool:
        """Forget a queue that has no jobs, its events, pause, limits and what was counted; not its workers. False if it
        has jobs."""
