"""Telling dependents how a job ended, page by page; and waking them again when it is retried by hand."""

from __future__ import annotations

from stratix_kombu.model.names import id_of
from stratix_kombu.model.record import GATE, MAX_REASON_BYTES
from stratix_kombu.model.state import State
from stratix_kombu.model.text import bounded
from stratix_kombu.stores.memory.attempts import keep_last
from stratix_kombu.stores.memory.graph import Outcome
from stratix_kombu.stores.memory.state import Job, Space


def reason_of(dependency: str, outcome: Outcome) -> str:
    """Why a required dependent fails."""
    if outcome.state == "removed":
        return f"dependency {dependency} was removed"
    return bounded(f"dependency {dependency} failed: {outcome.reason}", MAX_REASON_BYTES)


def outcome_of(space: Space, job_id: str) -> Outcome | None:
    """How a job ended; None while it has not."""
    job = space.jobs.get(job_id)
    if job is None:
        return space.outcomes.get(job_id, Outcome("removed"))
    if not job.state.finished:
        return None
    return Outcome(job.state.value, job.result, job.failed_reason or "", job.number, job.new.kind == GATE)


def release_page(space: Space, limit: int) -> bool:
    """Tell up to ``limit`` dependents; whether some are left."""
    while limit > 0 and (space.reviving or space.releasing):
        worklist, step = (space.reviving, _revive) if space.reviving else (space.releasing, _settle)
        dependency = next(iter(worklist))
        told = space.reviving is worklist
        page = space.dependents_of(dependency, told, limit)
        for dependent in page:
            space.mark_told(dependency, dependent, not told)
            step(space, space.jobs[dependent], dependency)
        limit -= max(len(page), 1)
        if not space.dependents_of(dependency, told, 1):
            worklist.pop(dependency, None)
    return bool(space.reviving or space.releasing)


def _settle(space: Space, job: Job, name: str) -> None:
    outcome, dependency = outcome_of(space, name), id_of(name)
    edge = job.dependencies.get(dependency)
    if outcome is None or edge is None or edge.state:
        return
    if outcome.gate:
        del job.dependencies[dependency]
        space.forget_edge(job.new.id, dependency, edge.number)
    edge.state = outcome.state
    job.pending -= 1
    if job.state is not State.BLOCKED:
        return
    if outcome.state != "completed" and not job.new.optional:
        space.fail(job, reason_of(dependency, outcome), failed_by=dependency, error=outcome.result)
    elif not job.pending:
        space.unblock(job)


def _revive(space: Space, job: Job, name: str) -> None:
    """A required dependent that failed waits again; ``release_page`` has marked the edge as not released."""
    began_anew = space.jobs.get(name)
    if began_anew is not None and began_anew.rerun:
        _rerun_edge(space, job, id_of(name))
        return
    if job.state is not State.FAILED or job.new.optional:
        return
    dependency = id_of(name)
    job.dependencies[dependency].state = ""
    job.pending += 1
    if job.failed_by != dependency:
        return
    for other, edge in job.dependencies.items():
        if edge.state in ("failed", "removed"):
            outcome = outcome_of(space, space.place_of(other, edge.number)) or Outcome("removed")
            job.failed_by, job.failed_reason = other, reason_of(other, outcome)
            return
    begin_again(space, job)
    revive_dependents(space, job)


def _rerun_edge(space: Space, job: Job, dependency: str) -> None:
    """The dependency runs again although it has completed: the job waits for it again, unless it is active."""
    edge = job.dependencies.get(dependency)
    if job.state is State.ACTIVE or edge is None or not edge.state:
        return
    edge.state = ""
    job.pending += 1
    if job.state is State.COMPLETED or (job.state is State.FAILED and not job.failed_by and not job.vacant):
        rerun_job(space, job, dependents=True)
    elif job.state in (State.WAITING, State.DELAYED):
        space.make_ready(job)


def begin_again(space: Space, job: Job) -> None:
    """It has finished, and must run again."""
    keep_last(space, job)
    job.failed_by, job.failed_reason, job.stacktrace, job.result, job.finished_ms = "", None, None, None, 0
    job.rerun = False
    space.hold_again(job)
    space.make_ready(job)


def rerun_job(space: Space, job: Job, dependents: bool) -> None:
    """It has completed, or failed by itself, and runs again; with ``dependents`` its dependents do too. Those that were
    not released yet are released when it finishes again."""
    begin_again(space, job)
    job.cancelled, job.cancel_error = None, ""
    job.rerun = dependents
    if dependents:
        revive_dependents(space, job)
    else:
        space.releasing.pop(job.new.id, None)


def revive_dependents(space: Space, job: Job) -> None:
    """The job has failed and will run again: jobs that failed because of it will wait again."""
    space.releasing.pop(job.new.id, None)
    if space.dependents.get(job.new.id):
        space.reviving[job.new.id] = None
