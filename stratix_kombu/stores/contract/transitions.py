"""The life of a job: every method is one atomic step.

What happens is counted in the same step, in the queue's minute and in its totals (see ``Queries.metrics`` and
``model/metrics.py``): jobs that complete; jobs that fail, by whatever step; attempts after which ``fail``, or
``hand_over`` with a reason, makes another one; expired leases; starts that a limit refused. And by ``complete``,
``fail`` and ``hand_over``, of each active job: how long it had waited when the attempt began (since it became waiting;
being dispatched again does not restart that), and how long the attempt ran; the latter, if it completed, also by the
job's name; and in hours all of it by the job's name. Minutes are kept for ``KEPT_MINUTES``, hours for
``KEPT_HOURS``, and names up to ``NAMES_KEPT`` of a queue.

Repeating a request is safe. A store whose server did not answer repeats the request itself within the command timeout,
and the step is made once: the second answer is the same as the first, and no event, count or job appears twice. When it
then raises StoreUnavailable, the step may or may not have been made. A host that runs jobs can repeat its request at
any later time, so that no job is left over: ``take`` and ``claim`` with the same request, and ``complete``, ``fail``,
``hand_over`` and ``hand_back`` with the same token. Then what has become ready is not returned again: ``redeliver``
dispatches it.

The package's docstring describes how jobs are ordered, limited and announced by messages.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from stratix_kombu.errors import DependencyNotFound, JobIdTaken
from stratix_kombu.model.claims import NO_BOUNDS, Bounds, Claimed, Taken
from stratix_kombu.model.record import Added, Change, Completion, Failure, HandOver, Held, NewJob, Renewed, WorkerInfo
from stratix_kombu.stores.contract.by_hand import PAGE, ByHand

UNUSED_MS = 24 * 3_600_000
"""After this time an unused queue is forgotten."""
TAKEN_AT_ONCE = 1_000
"""How many jobs one take gives at most; a caller that wants more is given as many as if it wanted these."""


def check_ids(jobs: Sequence[NewJob]) -> None:
    """Raise JobIdTaken where one call of ``add`` names an id for two queues, and DependencyNotFound where a job would
    depend on itself. For stores."""
    queues: dict[str, str] = {}
    for job in jobs:
        if job.id in job.dependencies:
            raise DependencyNotFound(job.id, job.id)
        if len(jobs) > 1 and not job.vacant and queues.setdefault(job.id, job.queue) != job.queue:
            raise JobIdTaken(job.id, queues[job.id])


class Transitions(ByHand, ABC):
    """The life of a job, one method a step."""

    # -- adding ---------------------------------------------------------------------------------

    @abstractmethod
    def add(self, jobs: Sequence[NewJob]) -> Added:
        """Add jobs, all or none: new -> waiting, delayed (not before an instant ahead) or blocked (dependencies
        that have not finished).

        Each gets a number that no other job of the namespace had or will have, greater than those of earlier calls; the
        answer contains it, and the state of the job. A known id of the same queue changes nothing, is named in
        ``duplicates`` and emits ``duplicated``. Dependencies may name jobs of the store or earlier ones of the same
        call, in any queue. A completed one is satisfied at once. A failed one fails the job at once (reason
        ``dependency <id> failed: <its reason>``), unless the job is ``optional``. Events: ``waiting``, ``delayed``,
        ``blocked`` or ``failed``.

        A job whose ``deduplication`` finds another one is not added: it is named in ``instead``, and ``duplicated`` is
        emitted for the existing job. A job that replaces a delayed one removes that (event ``removed``). Later jobs of
        the same call that depend on the one that was not added, or was removed, depend on the other one.

        A ``vacant`` job is blocked until a job of the same id is added, which takes its place: its dependents wait
        for that one, its counts of attempts stay, its limit, dead letter and deduplication too if the new one has
        none, its dependencies are forgotten. It is added silently: a known id
        changes nothing and emits nothing. When its last dependency ends before it is taken over, it has failed
        (reason ``what it waited for ended without sending it``); one with a delay is delayed, and fails so when that
        is over, or is removed (event ``removed``) if it is of the kind ``BY_HAND``. Vacant jobs named by ``carries`` of
        a new job depend on it from now on, up to the first that depends on the vacant one named before it: those of a
        row wait for one another, and are not looked at one by one.

        A job that is ``anew`` takes the place of one that has ended, in the same step (event ``removed``).

        An id may be used again when its job was removed. Whatever referred to that job goes on to do so: its dependents
        are told how it ended, and read its result, not those of the later job; it is not removed because of the age of
        the earlier one, nor replaced where that one held a deduplication id. A gate (see ``GATE``) is a dependency that
        is forgotten once it has ended, and that no query returns.

        Raises DependencyNotFound, also for a job's own id, and JobIdTaken for an id of another queue's job (unless one
        of the two is vacant), before anything is written.
        """

    def add_meanwhile(self, jobs: Sequence[NewJob], meanwhile: Callable[[], object]) -> Added:
        """``add``, and call ``meanwhile``: a store that waits for a server does so before the answer is there, and once
        more when it asks again. It must neither use the store nor raise."""
        added = self.add(jobs)
        meanwhile()
        return added

    @abstractmethod
    def add_dependency(self, job_id: str, *dependency_ids: str) -> Change:
        """Make a job that has not started depend on others, all or none, as if it had been added like that.

        Waiting and delayed jobs become blocked if a dependency has not finished. Adding an edge twice changes
        nothing. Raises JobNotFound, DependencyNotFound, JobAlreadyStarted (active or finished) and
        DependencyCycle (also for an edge to itself). A large graph may be looked at for a cycle in several steps; the
        edges are written in one, and only if no others came meanwhile.
        """

    @abstractmethod
    def remove_dependency(self, job_id: str, dependency_id: str) -> Change:
        """Remove an edge; a blocked job whose last edge it was becomes waiting (or delayed).

        Raises JobNotFound, JobAlreadyStarted, and DependencyNotFound where there is no such edge.
        """

    # -- running --------------------------------------------------------------------------------

    @abstractmethod
    def take(
        self,
        queue: str,
        worker: str,
        lease_ms: int,
        want: int,
        bounds: Bounds = NO_BOUNDS,
        *,
        permits: int = 0,
        request: str = "",
    ) -> Taken:
        """Give ``worker`` up to ``want`` of the waiting jobs of ``queue`` that may start now, the first in their order:
        waiting -> active, under a lease and a token that no other claim has. See the module on order, limits and
        permits. Native jobs are not taken, see ``NewJob.native``.

        1. Nothing starts in a paused queue (PAUSED), nor in one that is held (LIMITED until the hold ends).
        2. No more start than ``global_concurrency`` leaves room for (CROWDED), and than the queue's limit lets start
           now or a little ahead (LIMITED): such a claim has ``wait_ms``, and the start counts as made then.
        3. A job that its own limit, or ``group_concurrency``, does not let start is set aside, in place: it stays
           ``waiting``, keeps its place, and comes back into the order when its limit opens, or when an active job of
           its group ends. Meanwhile the others are taken.
        4. EMPTY if nothing waits, or nothing but jobs that are set aside; ``until_ms`` is when the first of these may
           start, where a limit says that. A permit may come at any time that lets another job start, while PAUSED,
           LIMITED and CROWDED say that nothing of the queue starts.

        A call looks at a bounded number of jobs, some hundreds more than ``want``; ``left`` says that there is more to
        be had at once. ``permits`` is how many messages of the broker the caller drops with this call, whatever the
        answer.

        ``request`` names this call, see ``new_request``; '' = the store makes one. Tokens are ``<request>:<position>``,
        from 0. If the worker asks again with the request of its last take of the queue, it gets the claims of that
        which are still held, with a lease that begins now, and the rest of the answer as it was; nothing is counted and
        no event emitted. That is forgotten when the worker leaves.

        Counts ``attempts_started``; as ``limited`` each job that is set aside because of its limit, and each take to
        which the queue's limit or its hold gave less than was wanted. Event ``active``. ``bounds.fallback`` as for
        ``claim``.
        """

    @abstractmethod
    def claim(
        self,
        queue: str,
        ids: Sequence[str],
        worker: str,
        lease_ms: int,
        bounds: Bounds = NO_BOUNDS,
        *,
        request: str = "",
    ) -> Claimed:
        """Try to take the jobs that messages of ``queue`` named: waiting -> active, under a lease and a token that no
        other claim has. For native jobs, and for hosts that must run a certain job.

        ``request`` names this call, see ``new_request``; '' = the store makes one. The token is ``<request>:<place>``,
        the place of the id in ``ids`` from 0. If the request is repeated with the same ids, the claims that are still
        held are returned again, with a lease that starts now; nothing is counted and no event is emitted. Jobs that the
        first request did not claim are tried again.

        Each id is claimed or refused on its own, in order: ``gone`` (also a job of another queue), ``not_waiting``,
        ``paused``, ``crowded`` (``global_concurrency`` jobs of the queue are active already, or ``group_concurrency``
        of its group), ``limited`` (by the queue's limit, the job's own, or because the queue is held). A job that is
        refused by the last three stays waiting in its place. Its message may be dropped in every case: that of a native
        job is sent again when the job may start, and instead of another one counts a permit as owed. A claim that
        comes a little before its limits have room is granted for that instant: the worker has to wait ``wait_ms``, and
        the start counts as made then (see ``model.limiter``). What was set for the queue comes before ``bounds``;
        groups of native jobs have no bound. An id named twice is claimed once. Counts ``attempts_started``, and
        ``limited``. Event ``active``.

        A job that is claimed and says no ``dead_letter`` of its own has that of ``bounds.fallback`` from now on; a
        letter (see ``LETTER``) is kept as that says."""

    @abstractmethod
    def renew(
        self,
        present: Sequence[WorkerInfo],
        held: Sequence[Held],
        lease_ms: int,
        *,
        every_ms: int = 0,
        asked: Sequence[str] = (),
    ) -> Renewed:
        """Extend the leases of a worker's jobs, and its presence on the queues that it serves; return which of the
        ``asked`` queues are paused. One call per process.

        ``present`` names the worker once for each of its queues, with one id; none = it shows no presence. It is
        present on a queue that was named once until it leaves it, or until ``lease_ms`` after its last renewal. When it
        was to be renewed again, ``every_ms`` later, its ``idle_ms`` begins to grow.

        What is lost or cancelled is named by token: the worker may hold another claim on the same job.
        """

    @abstractmethod
    def leave(self, worker: str, queues: Sequence[str]) -> None:
        """End a worker's presence on these queues. Its last take of each can no longer be repeated."""

    @abstractmethod
    def complete(self, results: Sequence[Completion]) -> Change:
        """active -> completed for those whose token is still held; the others are named in ``stale``, but not those
        that were completed with this token before (known while the record is there, and for ``ENDED_KEPT_MS`` after the
        end where its retention has removed it).

        Counts ``attempts_made``, adds the jobs of ``then`` (as ``add``, but a dependency that is not known counts as
        removed), informs dependents (see ``release``), applies the job's retention (see ``Queries.ended``). Where
        ``data`` or ``message`` are given, they replace those of a job that is kept; nothing is sent. With ``ANY_CLAIM``
        it ends a job in any state but an ended one, with ``UNCLAIMED`` one that is not active either. Events
        ``completed``, and ``drained`` when the queue has neither waiting nor active jobs any more.
        """

    def complete_and_take(
        self,
        results: Sequence[Completion],
        queue: str,
        worker: str,
        lease_ms: int,
        want: int,
        bounds: Bounds = NO_BOUNDS,
        *,
        permits: int = 0,
        request: str = "",
    ) -> tuple[Change, Taken]:
        """``complete``, then ``take``, in one round trip where the store can. A busy worker calls this: it stores the
        outcomes of its jobs and gets the next ones. The descriptions of both apply. It may be repeated like both, with
        the same tokens and the same request, together or separately: when it raises StoreUnavailable, it is unknown
        whether either of them was made."""
        change = self.complete(results)
        return change, self.take(queue, worker, lease_ms, want, bounds, permits=permits, request=request)

    @abstractmethod
    def fail(self, failures: Sequence[Failure]) -> Change:
        """active -> delayed or waiting after ``retry_ms``, or failed; ``stale`` as for ``complete``.

        Counts ``attempts_made``. A job that has failed releases its dependents: ``required`` ones fail too, with the
        reason ``dependency <id> failed: <its reason>``, ``optional`` ones are released. Events ``delayed``,
        ``waiting`` or ``failed``; besides, ``retries_exhausted`` when more than one attempt was allowed and all
        have been made; ``drained`` as for ``complete``. ``then``, ``ANY_CLAIM`` and ``UNCLAIMED`` as for
        ``complete``; ``error`` becomes the result of the job, and of the dependents that fail because of it. Of a
        reason no more than ``MAX_REASON_BYTES`` are kept. A job with a ``dead_letter`` that has failed (here or by
        ``recover``) is buried in the same step: a letter is added to that queue, see ``model.letter.letter_for``, one
        for each job and each time it fails; but a letter leaves none in a queue in which it, or what it tells of, has
        failed before.
        """

    @abstractmethod
    def hand_over(self, jobs: Sequence[HandOver]) -> Change:
        """active -> vacant for those whose token is still held (``stale`` as for ``complete``), and add the jobs
        of ``then``: the one of the same id takes the place, or one that carries the id keeps it.

        Counts ``attempts_made``. A job whose id no job carries fails. Events as for ``add``.
        """

    @abstractmethod
    def hand_back(self, held: Sequence[Held]) -> Change:
        """active -> waiting, at once and without counting an attempt, for jobs that were claimed but not started: they
        keep their place, and the time since when they have been waiting. ``stale`` as for ``complete``."""

    @abstractmethod
    def release(self, limit: int = PAGE) -> Change:
        """Continue releasing dependents of finished jobs, where ``complete``, ``fail`` or a crash left some over."""

    # -- the record -----------------------------------------------------------------------------

    @abstractmethod
    def progress(self, job_id: str, value: str) -> None:
        """Set the progress (JSON). Event ``progress``. Raises JobNotFound."""

    @abstractmethod
    def log(self, job_id: str, line: str, keep: int) -> int:
        """Append a line to the job's log, keeping the newest ``keep``; the number kept. Raises JobNotFound."""

    @abstractmethod
    def update_data(self, job_id: str, data: str) -> None:
        """Replace the data (JSON). Raises JobNotFound."""

    # -- the clock ------------------------------------------------------------------------------

    @abstractmethod
    def promote(self, limit: int = PAGE) -> tuple[Change, int | None]:
        """Due delayed jobs of all queues -> waiting, in the order of their due times and, of one instant, in that in
        which they became delayed. Event ``waiting``. In queues whose limit or hold has opened, permits that are owed
        are sent (see the module). Also, in how many milliseconds there is something to do again (None = it is not
        known that there will be)."""

    @abstractmethod
    def recover(self, max_stalled: int, limit: int = PAGE) -> Change:
        """Jobs whose lease expired -> waiting (event ``stalled``, then ``waiting``), or failed when it happened more
        than ``max_stalled`` times (events ``stalled`` and ``failed``).

        It also forgets, as ``forget_queue`` does, queues that for ``UNUSED_MS`` had no job, worker, schedule, pause,
        limit, bound, hold, deduplication id or event; each call examines some.

        ``lost`` names what any step has dropped since the last call: a job whose record is missing (it was evicted, or
        deleted by hand) or unreadable does not block a step. It is dropped from the list that named it, its dependents
        are released as if it had been removed, and the step continues with the others. Where edges were lost, each call
        examines some of the blocked jobs: they are released if it is known what they wait for, and fail otherwise."""

    @abstractmethod
    def redeliver(self, queue: str, grace_ms: int, depth: int | None, limit: int = PAGE, *, sent: int = 0) -> Change:
        """Send again the messages that seem lost. ``depth`` is the number of messages in the broker's queue; None =
        unknown. ``sent`` is how many were sent since, by calls that returned ``more``. Nothing counts as lost in a
        paused queue.

        If for longer than ``grace_ms`` there have been fewer messages than waiting jobs, permits owed not counted, the
        missing ones are sent; ``more`` if a page was not enough. If the depth is unknown, one is sent each time: a
        worker that receives it continues by itself while anything is left.

        A native job counts as undelivered when it was dispatched longer than ``grace_ms`` ago and either the depth is 0
        or not known, or a native job of the same priority that was dispatched ``grace_ms`` later has been claimed. Each
        time it is dispatched again its own grace doubles, so that a slow queue is not flooded. One whose claim was
        refused is sent when it may start, and not here.
        """

    @abstractmethod
    def expire(self, limit: int = PAGE) -> Change:
        """Remove finished jobs that are older than their retention allows: that of how they ended last."""
