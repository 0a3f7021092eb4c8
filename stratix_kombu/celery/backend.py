"""``StratixBackend``: results, groups and chords of Celery on job records. ``install`` sets it.

Nothing here publishes or counts: what follows a task is added in the step that ends it (see ``attempt.py``), and a
chord is a job that depends on its header (see ``join.py``). The tracer's ``mark_as_*`` calls find the work done.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from celery import current_task, states
from celery.app.task import Context
from celery.exceptions import NotRegistered, TaskRevokedError, TimeLimitExceeded, WorkerLostError
from celery.result import AsyncResult, GroupResult
from kombu.utils import json

from stratix_kombu.celery import compat
from stratix_kombu.celery.attempt import REJECTED, Attempt, ended_as, error_text, reason_of, send_errbacks, told_trace
from stratix_kombu.celery.batch import Continuation, Pages, awaited_in, current, leaves, results_in, within
from stratix_kombu.celery.groups import Groups
from stratix_kombu.celery.jobs import lost_with_its_child
from stratix_kombu.celery.meta import AFTER, RETRIES, is_told_only, is_unsent, meta_of
from stratix_kombu.celery.mirror import Sending, sending
from stratix_kombu.celery.publish import NOT_TRACKED
from stratix_kombu.celery.task import TrackedTask, attempt_of
from stratix_kombu.errors import InvalidJobState, JobNotFound, StratixError
from stratix_kombu.lifecycle.add import add
from stratix_kombu.lifecycle.one_job import add_dependency, change_delay, set_progress
from stratix_kombu.lifecycle.outcomes import complete, fail
from stratix_kombu.model.message import TASK
from stratix_kombu.model.names import join_id, task_job_id
from stratix_kombu.model.record import ANY_CLAIM, UNCLAIMED, Completion, Failure, JobRecord, NewJob
from stratix_kombu.model.stalls import failed_by_stalling
from stratix_kombu.model.state import BY_HAND
from stratix_kombu.model.tasks import TRACKED

REPORTED = "stratix_reported"
"""In a request: its failure has been reported by the worker's main process."""


def _is_permit(request: Any) -> bool:
    """Whether it is the message that a job of ``queue.process`` was taken with. Its id is not a job's; the run stores
    how the job ends."""
    return bool(getattr(request, "task", "") == TASK)


def _own_attempt(task_id: str, request: Any) -> Attempt | None:
    """The attempt that runs in this thread, if it is one of that task: it stores how it ends itself."""
    own = request if request is not None else current_task.request if current_task else None
    attempt = attempt_of(own)
    return attempt if attempt is not None and not attempt.settled and attempt.job_id == task_job_id(task_id) else None


def _is_news(request: Any) -> bool:
    """Whether its failure is reported for the first time: Celery reports a hard time limit twice."""
    if request is None or getattr(request, REPORTED, False):
        return False
    setattr(request, REPORTED, True)
    return True


class StratixBackend(Groups):
    """Answers from the store that the bridge uses."""

    # -- what the tracer and the worker's main process call ---------------------------------------

    def mark_as_done(
        self, task_id: str, result: Any, request: Any = None, store_result: bool = True, state: str = states.SUCCESS
    ) -> None:
        attempt = attempt_of(request)
        if _is_permit(request):
            return
        if attempt is None or not attempt.settled:
            if store_result and not getattr(request, "ignore_result", False):
                self.store_result(task_id, result, state, request=request)
            if attempt is not None:
                return
        self.bridge.mirror.done(task_id, result, request, store_result, state)

    def mark_as_failure(
        self,
        task_id: str,
        exc: BaseException,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        *,
        state: str = states.FAILURE,
        held: bool = False,
    ) -> None:
        """``held``: by who calls this. A worker that does not know the task fails it only if it does not run: another
        one may know it, and have got the same message."""
        attempt = attempt_of(request)
        if _is_permit(request):
            if isinstance(exc, (WorkerLostError, TimeLimitExceeded)):
                lost_with_its_child(self.bridge, request)
            return
        if request is None and (counting := self._counting()) is not None:  # the body of a chord
            counting.mark_as_failure(task_id, exc, traceback)
            return
        if attempt is not None and attempt.settled:
            self.bridge.mirror.failed(task_id, exc, traceback, request, store_result)
            return
        batch = current()
        if isinstance(batch, Continuation):
            batch.fail(task_job_id(task_id))
            batch.after.append(lambda: self.bridge.mirror.never_sent(task_id, exc, traceback))
            return
        if request is None:
            if store_result:
                self.store_result(task_id, exc, state, traceback=traceback)
            return
        if attempt is None and getattr(request, "is_eager", False):
            if call_errbacks and request.errbacks:
                self._call_task_errbacks(request, exc, traceback)
            if store_result:
                self._end_by_hand(task_job_id(task_id), exc, traceback, request)
            return
        if isinstance(exc, TimeLimitExceeded) and self._is_delivered_again(request):
            fail(self.bridge.engine, [Failure(task_job_id(task_id), ANY_CLAIM, REJECTED, retry_ms=0)])
            return
        # Only the worker's main process knows: the child was killed, by a time limit or otherwise.
        called, sent = compat.errbacks_of(self, request) if call_errbacks and _is_news(request) else ([], [])
        token = UNCLAIMED if isinstance(exc, NotRegistered) and not held else ANY_CLAIM
        if self._fail_from_outside(task_id, exc, traceback, request, sent, token):
            self.bridge.mirror.failed(task_id, exc, traceback, request, store_result)
            compat.call_errbacks(self, request, called, exc, traceback)

    def _fail_from_outside(
        self, task_id: str, exc: BaseException, traceback: Any, request: Any, sent: Any, token: str
    ) -> bool:
        """Fail a task and what follows it, and add those of its errbacks that are to be ``sent``. Whether it has ended:
        with some tokens one that runs goes on."""
        queue = self.app.conf.task_default_queue
        with within(Continuation(task_job_id(task_id))) as batch:
            send_errbacks(self, request, sent, exc, traceback)
        errbacks = batch.finish(queue)
        for step in getattr(request, "chain", None) or ():
            for job_id, name in results_in(step):
                batch.fail(job_id, name)
        if not self._end_by_hand(task_job_id(task_id), exc, traceback, request, batch.finish(queue), token):
            record = self._record(task_id)
            if record is not None and not record.state.finished:
                return False
            if errbacks and record is not None and failed_by_stalling(record):  # before its process was missed
                add(self.bridge.engine, errbacks)
        for step in getattr(request, "chain", None) or ():
            for job_id in awaited_in(step):  # a task that is left out was to send it, perhaps: then it waits for nobody
                self._end_by_hand(job_id, exc, traceback)
        return True

    def _record(self, task_id: str) -> JobRecord | None:
        (record,) = self.bridge.engine.store.queries.get([task_job_id(task_id)])
        return record

    def _is_delivered_again(self, request: Any) -> bool:
        """Whether the task says so, for when it exceeds its hard time limit: Celery rejects the message then."""
        task = self.app.tasks.get(getattr(request, "task", None))
        return task is not None and task.acks_late and not task.acks_on_timeout

    def mark_as_revoked(
        self,
        task_id: str,
        reason: str = "",
        request: Any = None,
        store_result: bool = True,
        state: str = states.REVOKED,
        *,
        held: bool = False,
    ) -> None:
        """A task that runs goes on, unless it is terminated, or ``held`` by who calls this. Workers also call it for
        what they do not know to run: another worker's task, a message that came twice, a task that their pool has just
        begun."""
        if _is_permit(request) or (request is None and not store_result):
            return
        if _own_attempt(task_id, request) is not None:
            self.store_result(task_id, TaskRevokedError(reason), state, request=request)
            return
        job_id = task_job_id(task_id)
        is_known = request is not None or self._record(task_id) is not None
        token = ANY_CLAIM if held or reason == "terminated" else UNCLAIMED
        if not self._end_by_hand(job_id, TaskRevokedError(reason), None, token=token):
            record = self._record(task_id)
            if record is not None and not record.state.finished:
                return
        if not is_known:
            self.bridge.mirror.revoked_unknown(task_id, reason, state)
            return
        self.bridge.mirror.revoked(task_id, reason, request, store_result, state)

    def mark_as_retry(
        self,
        task_id: str,
        exc: Any,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        state: str = states.RETRY,
    ) -> Any:
        """Of a job the store knows: the attempt was handed over."""
        if _is_permit(request):
            return None
        if attempt_of(request) is None and not self._is_to_be_claimed(request, task_id):
            return self.store_result(task_id, exc, state, traceback=traceback, request=request)
        self.bridge.mirror.told(task_id, state, exc, request, traceback)
        return None

    def _end_by_hand(
        self,
        job_id: str,
        error: BaseException,
        traceback: Any,
        request: Any = None,
        then: tuple[NewJob, ...] = (),
        token: str = ANY_CLAIM,
    ) -> bool:
        """Fail a task that is nobody's any more; whether it had not ended before."""
        text = error_text(self, error)
        add(self.bridge.engine, [self._document(job_id, request)])  # perhaps of a task that is not a job
        failure = Failure(job_id, token, reason_of(error), told_trace(traceback), error=text, then=then)
        return not fail(self.bridge.engine, [failure]).stale

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """``update_state`` and its like; ``result`` is encoded already."""
        if _is_permit(request) or (attempt_of(request) is None and self._is_to_be_claimed(request, task_id)):
            return result  # the tracer: ``begin`` has stored that it started
        own = _own_attempt(task_id, request)
        if own is not None:
            if own.stored_success() is None:
                self._set_progress(own.job_id, self.progress_of(state, result, own.request, traceback))
                own.store(state, result, traceback)
                if own.stored:
                    self.bridge.mirror.told(task_id, state, result, own.request)
        elif state in states.READY_STATES:
            self._store_final(task_id, result, state, traceback, request)
        else:
            self._tell(task_id, self._record(task_id), self.progress_of(state, result, request, traceback))
        if state not in states.READY_STATES or (own is None and request is None):
            self.bridge.mirror.told(task_id, state, result, request, traceback)
        return result

    def _is_to_be_claimed(self, request: Any, task_id: str) -> bool:
        """Whether it is the request of a task that is a job, which has not been claimed yet. Those of celery-batches
        are of another kind, with less."""
        if (
            not isinstance(request, Context)
            or request.id != task_id
            or request.is_eager
            or request.get(TRACKED) == NOT_TRACKED
        ):
            return False
        return isinstance(self.app.tasks.get(request.task), TrackedTask)

    def _tell(self, task_id: str, record: JobRecord | None, told: dict[str, Any]) -> None:
        """Of a task that does not run here. As with Celery's backends, success is not replaced by another state; any
        other end is."""
        if record is not None:
            if record.state.finished:
                if meta_of(self, task_id, record)["status"] == states.SUCCESS:
                    return
                told[AFTER] = record.finished_ms
            told[RETRIES] = record.attempts_made
        self._set_progress(task_job_id(task_id), told, lasting=record is not None and is_told_only(record))

    def _set_progress(self, job_id: str, told: dict[str, Any], *, lasting: bool = False) -> None:
        """``lasting``: it is all that is known of the id, and expires as results do, from now on."""
        engine, value = self.bridge.engine, str(json.dumps(told))
        place = self.bridge.publisher.place(job_id)
        expires_ms = place.keep_completed.age_ms
        try:
            if lasting and expires_ms:
                with suppress(InvalidJobState):  # a job has taken its place meanwhile
                    change_delay(engine, job_id, expires_ms)
            set_progress(engine, job_id, value)
        except JobNotFound:
            add(engine, [replace(place, kind=BY_HAND, delay_ms=expires_ms) if expires_ms else place])
            set_progress(engine, job_id, value)

    def _document(self, job_id: str, request: Any) -> NewJob:
        """A record for the result of a task that is not a job, if there is none."""
        children = self.current_task_children(request)
        data = "null" if children is None else str(json.dumps({"children": children}))
        return replace(self.bridge.publisher.place(job_id), data=data)

    def _store_final(self, task_id: str, result: Any, state: str, traceback: Any, request: Any) -> None:
        batch = current()
        if isinstance(batch, Continuation) and state != states.SUCCESS:
            batch.fail(task_job_id(task_id))
            return
        engine, job_id = self.bridge.engine, task_job_id(task_id)
        document = self._document(job_id, request)
        add(engine, [document])
        if self._ended(document, state, result, traceback):
            return
        record = self._record(task_id)
        if record is not None and is_unsent(record):  # a place in a chain, for a task that is not a job
            add(engine, [replace(document, anew=True)])
            self._ended(document, state, result, traceback)
        elif record is not None:
            self._tell(task_id, record, self.progress_of(state, result, request, traceback))

    def _ended(self, document: NewJob, state: str, result: Any, traceback: Any) -> bool:
        outcome = ended_as(self, document.id, ANY_CLAIM, state, result, traceback)
        if isinstance(outcome, Completion):
            return not complete(self.bridge.engine, [replace(outcome, data=document.data)]).stale
        return not fail(self.bridge.engine, [outcome]).stale

    def process_cleanup(self) -> None:
        """Nothing is kept for one task."""

    def as_uri(self, include_password: bool = False) -> str:
        return f"stratix://{self.bridge.engine.store.address.partition('://')[2]}"

    # -- groups and chords ------------------------------------------------------------------------

    def _counting(self) -> Any:
        """The configured backend, if it counts the chords of what this thread publishes."""
        return self.bridge.mirror.counting if sending(self.bridge) is Sending.PLAIN else None

    def ensure_chords_allowed(self) -> None:
        """They are."""

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """A header that a generator makes is sent while it is made, the join behind it."""
        group_id, results = header_result_args
        if (counting := self._counting()) is not None:
            known = results.whole() if isinstance(results, compat.Streamed) else results
            counting.apply_chord((group_id, known), body, **kwargs)
            return
        batch = current()
        if not isinstance(results, compat.Streamed):
            self._join(group_id, results, body)
        elif isinstance(batch, Pages) and not (batch.jobs or batch.joins):
            batch.at_end = lambda: self._join(group_id, results, body)
        else:
            self._join(group_id, results.whole(), body)

    def _join(self, group_id: str, results: Any, body: Any) -> None:
        tree = [_tree(result) for result in results]
        self.bridge.publisher.join(group_id, tree, body, list(leaves(tree)))

    def _fail_chain(self, chain: Any, exc: BaseException, traceback: Any = None, **kwargs: Any) -> None:
        """Of a chord whose header has failed. The configured backend, if it counts that chord, calls this one by the
        task of the body; what follows, and the parts of other chords in it, are its own to store and to count."""
        counting = self._counting()
        fail_chain = super()._fail_chain if counting is None else counting._fail_chain
        fail_chain(chain, exc, traceback, **kwargs)

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """The join has its dependencies."""
        if (counting := self._counting()) is not None:
            counting.set_chord_size(group_id, chord_size)

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> None:
        """The store counts, in the step that ends the part."""

    def add_to_chord(self, chord_id: str, result: Any) -> None:
        """Let the chord depend on one more task, which the current one is about to send."""
        if (counting := self._counting()) is not None:
            counting.add_to_chord(chord_id, result)
            return
        attempt = attempt_of(current_task.request) if current_task else None
        if attempt is None:
            raise StratixError("a task can be added to a chord only by a running task of its header")
        job_id = task_job_id(result.id)
        placeholder = NewJob(
            id=job_id, queue=attempt.queue, name="awaited", vacant=True, dependencies=(attempt.job_id,)
        )
        add(self.bridge.engine, [placeholder])
        add_dependency(self.bridge.engine, task_job_id(join_id(chord_id)), job_id)


def _tree(result: Any) -> Any:
    if isinstance(result, GroupResult):
        return [_tree(one) for one in result.results]
    assert isinstance(result, AsyncResult)
    return task_job_id(result.id)
