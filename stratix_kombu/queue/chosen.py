"""Jobs of a queue that are chosen by their ids, or by a state and what else is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stratix_kombu.answer_types import JobCount
from stratix_kombu.config.options import whole
from stratix_kombu.errors import ConfigurationError, nearest
from stratix_kombu.foreign import STATES
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.sweep import act
from stratix_kombu.model.arguments import plain_text
from stratix_kombu.model.awaiting import call
from stratix_kombu.model.finding import ALL_JOBS, LOOKED_AT_ONCE, JobFilter, filter_of
from stratix_kombu.model.names import check_known_id
from stratix_kombu.model.state import Action, State
from stratix_kombu.queue.job import Job
from stratix_kombu.stores.contract import PAGE

COUNTED_AT_ONCE = 10
"""How many calls to the store one count makes at most."""
ALLOWED = {
    Action.RETRY: (State.FAILED,),
    Action.PROMOTE: (State.DELAYED,),
    Action.CANCEL: (State.WAITING, State.ACTIVE, State.DELAYED, State.BLOCKED),
    Action.REMOVE: (State.WAITING, State.DELAYED, State.BLOCKED, State.COMPLETED, State.FAILED),
}
"""The states of jobs to which each may be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which jobs are meant: those with these ids, or those in a state that a filter means; at most ``count`` of them (0
    = all)."""

    ids: Sequence[str] | None = None
    state: State | None = None
    where: JobFilter = ALL_JOBS
    count: int = 0

    @classmethod
    def of(cls, verb: str, action: Action, given: Mapping[str, Any], options: Mapping[str, Any]) -> Chosen:
        """From the arguments of a method of that name: ``ids``, ``state`` and ``count``, and options of a filter.
        Raises ConfigurationError."""
        count, ids, name = whole(given["count"], f"{verb}: 'count'", 0, 10**9), given["ids"], given["state"]
        if ids is not None:
            if options or name is not None:
                raise ConfigurationError(f"{verb}: give either 'ids', or a state and options")
            if isinstance(ids, (str, Mapping)) or not isinstance(ids, Iterable):
                raise ConfigurationError(f"{verb}: 'ids' must be a list of jobs or ids, not {ids!r}")
            return cls(ids=list(dict.fromkeys(map(_id_of, ids))), count=count)
        if name is None and len(ALLOWED[action]) > 1:
            raise ConfigurationError(f"{verb}: give 'ids' or a state: {', '.join(ALLOWED[action])}")
        state = state_of(verb, ALLOWED[action][0].value if name is None else name)
        if state not in ALLOWED[action]:
            raise ConfigurationError(
                f"{verb}: jobs that are {state} cannot be meant, only {', '.join(ALLOWED[action])}"
            )
        return cls(state=state, where=filter_of(options, verb), count=count)


def _id_of(job: Job | str) -> str:
    return job.id if isinstance(job, Job) else check_known_id(job)


def state_of(verb: str, name: str) -> State:
    """The state of that name. Raises ConfigurationError."""
    plain_text(name, f"{verb}: 'state'")
    try:
        return State("waiting" if name == "paused" else name)
    except ValueError:
        hint = nearest(name, [state.value for state in State], STATES)
        raise ConfigurationError(f"{verb}: unknown state {name!r}{hint}") from None


def act_on(
    engine: Engine,
    queue: str,
    action: Action,
    chosen: Chosen,
    on_progress: Callable[[int], object] | None = None,
    reason: str = "",
) -> int:
    """Do it page by page; the number of jobs to which it was done. ``on_progress`` is called with it after each
    page."""
    done = 0
    for page in _pages(engine, queue, chosen):
        for start in range(0, len(page), PAGE):
            few = page[start : start + (min(PAGE, chosen.count - done) if chosen.count else PAGE)]
            of_page = act(engine, queue, action, few, chosen.state, reason) if few else 0
            done += of_page
            if on_progress is not None and of_page:
                call(on_progress, done)
        if chosen.count and done >= chosen.count:
            break
    return done


def _pages(engine: Engine, queue: str, chosen: Chosen) -> Iterator[Sequence[str]]:
    if chosen.ids is not None:
        yield from (chosen.ids[start : start + PAGE] for start in range(0, len(chosen.ids), PAGE))
        return
    assert chosen.state is not None
    # Jobs that come meanwhile are not meant, or it might never end.
    until_ms = engine.store.queries.now() + 1
    where = replace(chosen.where, until_ms=min(chosen.where.until_ms or until_ms, until_ms))
    cursor, seen = "", set[str]()
    while True:
        page = engine.store.queries.page(queue, chosen.state, where, cursor, PAGE)
        ids = [record.id for record in page.records if record.id not in seen]
        if chosen.state is State.ACTIVE:  # they change their places, and stay active when they are cancelled
            seen.update(ids)
        yield ids
        cursor = page.cursor
        if not cursor:
            return


def count_jobs(engine: Engine, queue: str, state: State, where: JobFilter, cursor: str) -> JobCount:
    """See ``ManyJobs.count_jobs``."""
    if not cursor and where == ALL_JOBS:
        counts = engine.store.queries.status(queue).counts
        return JobCount(counts[state.value] + (counts["paused"] if state is State.WAITING else 0), True, "")
    count = 0
    for _ in range(COUNTED_AT_ONCE):
        page = engine.store.queries.page(queue, state, where, cursor, LOOKED_AT_ONCE)
        count, cursor = count + len(page.records), page.cursor
        if not cursor:
            break
    return JobCount(count, not cursor, cursor)
