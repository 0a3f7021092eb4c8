"""Reading a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from stratix_kombu.model.attempts import Attempt
from stratix_kombu.model.dependency import Dependency
from stratix_kombu.model.finding import ALL_JOBS, LOOKED_AT_ONCE, FailureHead, JobFilter, Page
from stratix_kombu.model.metrics import Tally, Totals
from stratix_kombu.model.overview import QUEUES_AT_ONCE, QueueOverview
from stratix_kombu.model.record import Ended, Held, JobRecord, Limit, QueueStatus, WorkerInfo
from stratix_kombu.model.state import State
from stratix_kombu.model.workers import WorkerProcess
from stratix_kombu.stores.contract.by_hand import PAGE

FOUND_AT_ONCE = 1_000
"""The most records that ``Queries.find`` returns."""


class Queries(ABC):
    """Reading; nothing changes. What the command line and a dashboard need.

    Long lists (names of queues, workers, neighbours in the graph) are read page by page, so they do not show one
    instant."""

    @abstractmethod
    def now(self) -> int:
        """The store's time, in milliseconds since the epoch."""

    def stands_still_ms(self) -> int:
        """For how long the store's time stands still, in milliseconds: its clock was set back, and time goes on when
        that shows again what it had shown. 0 where time is set back with the clock, and where that is not known."""
        return 0

    @abstractmethod
    def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        """The records, in the order of the ids."""

    @abstractmethod
    def ended(self, ids: Sequence[str]) -> list[Ended | None]:
        """How jobs ended that have no record any more because of their retention, in the order of the ids. Known for
        ``ENDED_KEPT_MS`` after the end, unless a later job of the same id is removed before: for callers that wait for
        a job which is removed when it finishes."""

    @abstractmethod
    def find(self, queue: str, states: Sequence[State], start: int = 0, end: int = -1) -> list[JobRecord]:
        """Records of the queue in the given states, state by state: waiting in their order (first those that may be
        taken, then those that are set aside, then native ones in the order of dispatch), delayed by due time,
        finished ones newest first; from ``start`` to ``end`` inclusive, negative ones from the end. The first
        ``FOUND_AT_ONCE`` of them, if there are more."""

    @abstractmethod
    def scan(self, queue: str, state: State, cursor: str = "", limit: int = PAGE) -> tuple[list[JobRecord], str]:
        """Records of the queue in that state, a page at a time, the oldest first (waiting and delayed ones as
        ``find``): at most ``limit`` of them, and the cursor for the next page, '' after the last one. A page may be
        empty before that. A record that is in the state the whole time is in at least one page, however many there
        are."""

    @abstractmethod
    def page(self, queue: str, state: State, where: JobFilter = ALL_JOBS, cursor: str = "", limit: int = PAGE) -> Page:
        """Records of the queue in that state that a filter means, at most ``limit``, in the order of ``find``: finished
        ones newest first. No call looks at more than ``LOOKED_AT_ONCE`` jobs, so a page may be short or empty before
        the last one. A record that is in the state the whole time is on at least one page, as long as it keeps its
        place in the order. Raises ConfigurationError for a cursor that no page has given."""

    @abstractmethod
    def failures(
        self, queue: str, letters: bool = False, cursor: str = "", limit: int = LOOKED_AT_ONCE
    ) -> tuple[list[FailureHead], str, int]:
        """The beginning of the reason of each failed job of the queue, newest first; or with ``letters`` of each letter
        that waits in it, in their order. The cursor for the next page and its meaning are those of ``page``; at most
        ``limit`` jobs are looked at, and how many is answered."""

    @abstractmethod
    def states(self, ids: Sequence[str]) -> list[State | None]:
        """The states of jobs, in the order of the ids; None where there is no job. Cheaper than ``get``."""

    @abstractmethod
    def status(self, queue: str) -> QueueStatus:
        """Counts of all states (with ``paused`` instead of ``waiting`` for a paused queue), and more."""

    @abstractmethod
    def overview(
        self, after: str = "", limit: int = QUEUES_AT_ONCE, minutes: int = 60
    ) -> tuple[list[QueueOverview], str]:
        """About ``limit`` queues, in no order, with what ``status`` tells, what was counted in each of the last minutes
        (as ``metrics``), and what was set for them; and where to go on, '' after the last page. In one call. A queue
        that is there the whole time is on at least one page."""

    @abstractmethod
    def metrics(self, queue: str, minutes: int) -> list[Tally]:
        """What was counted in each of the last minutes (at most ``KEPT_MINUTES``), oldest first, the current one last;
        also those in which nothing was."""

    @abstractmethod
    def hours(self, queue: str, hours: int, name: str = "") -> list[Tally]:
        """As ``metrics``, for each of the last hours (at most ``KEPT_HOURS``). With one of the ``names``, of attempts
        at jobs of that name (at most ``NAMED_HOURS``): ``completed`` and ``failed`` say how many ended so, whether
        another one is made or not; the other counts are 0."""

    @abstractmethod
    def names(self, queue: str) -> list[str]:
        """Names of jobs whose attempts are told apart, sorted: the first ``NAMES_KEPT`` of the queue, and ``OTHER`` for
        all that came later."""

    @abstractmethod
    def totals(self, queue: str) -> Totals:
        """What was counted since the queue has been there, or was forgotten."""

    @abstractmethod
    def limit_ttl(self, queue: str, limit: Limit | None = None) -> int:
        """In how many milliseconds the next job of the queue may start by its limit (the one that was set, else
        ``limit``) and by ``hold``; 0 = now."""

    @abstractmethod
    def bounds(self, queue: str) -> tuple[Limit | None, int | None]:
        """What ``set_limit`` and ``set_global_concurrency`` have set for the queue; None where the workers' own
        applies."""

    @abstractmethod
    def queues(self) -> list[str]:
        """Names of all queues that had a job or a worker, or were paused, sorted; one that has been unused for
        ``UNUSED_MS`` is forgotten (see ``Transitions.recover``)."""

    @abstractmethod
    def late_queues(self, waited_ms: int) -> list[str]:
        """Queues whose first job has waited for that long (see ``QueueStatus.oldest_waiting_ms``), sorted; not
        those that are paused."""

    @abstractmethod
    def workers(self, queue: str) -> list[WorkerInfo]:
        """Workers present on the queue, sorted by id."""

    @abstractmethod
    def processes(self, after: str = "", limit: int = PAGE) -> tuple[list[WorkerProcess], str]:
        """About ``limit`` workers that are present on any queue, in no order, each once on a page with all queues that
        it serves; and where to go on, '' after the last page. One that is there the whole time is on at least one
        page."""

    @abstractmethod
    def held(self, queue: str, worker: str) -> list[Held]:
        """The claims that a worker holds on the queue, for a caller that knows that it is dead and hands them back."""

    @abstractmethod
    def attempts(self, job_id: str) -> list[Attempt] | None:
        """The attempts at a job, the first one first: those that ended and after which it went on (by ``fail``,
        ``hand_over``, ``recover``, or since it was run again by hand), of which the newest ``ATTEMPTS_KEPT`` are kept
        while the record is there; and the last one, as long as it runs or the job ended with it. None if there is no
        such job."""

    @abstractmethod
    def logs(self, job_id: str, start: int = 0, end: int = -1) -> list[str]:
        """Lines of a job's log, oldest first; ``start`` to ``end`` inclusive."""

    @abstractmethod
    def logs_after(self, job_id: str, number: int) -> tuple[list[str], int]:
        """For following a job's log: the lines after the first ``number`` that were ever written, as far as they are
        kept, and the number of lines written. No lines and 0 for a job that does not exist."""

    @abstractmethod
    def depends_on(self, job_id: str) -> dict[str, Dependency]:
        """The jobs it depends on, by their ids, and what is known of them. Without gates."""

    def dependencies(self, job_id: str) -> dict[str, State | None]:
        """The states of the jobs it depends on; None for one that was removed before it finished. Without gates."""
        return {one: known.state for one, known in self.depends_on(job_id).items()}

    @abstractmethod
    def dependents(self, job_id: str) -> list[str]:
        """The jobs that depend on it, sorted."""

    @abstractmethod
    def edges(self, ids: Sequence[str]) -> list[tuple[list[str], list[str]]]:
        """For each job the ids it depends on, and the sorted ids that depend on it. Without gates, and without ids that
        another job has by now than the one it depends on."""

    @abstractmethod
    def roots(self, cursor: str = "", limit: int = PAGE) -> tuple[list[JobRecord], str]:
        """Roots of flows, those that were added last first: jobs of any queue that were given a dependency (gates do
        not count) and on which no job has come to depend since. At most ``limit``, and the cursor for the next page, ''
        after the last one; a page may be empty before that. Known of jobs that were added by this version or a later
        one."""

    def dependency_results(self, job_id: str) -> dict[str, str]:
        """Results (JSON) of the completed ones, readable even after their records were removed, and after their ids
        were used again."""
        return {one: known.result for one, known in self.depends_on(job_id).items() if known.result is not None}
