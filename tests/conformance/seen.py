"""What both stores must show alike: everything but instants and durations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stratix_kombu.model.event import Event
from stratix_kombu.model.finding import JobFilter
from stratix_kombu.model.metrics import COUNTS, Tally
from stratix_kombu.model.overview import QueueOverview
from stratix_kombu.model.record import Added
from stratix_kombu.model.state import State, Sweep
from stratix_kombu.stores.contract import Store


def swept(store: Store, queue: str, action: Sweep, state: State, limit: int) -> Iterator[str]:
    cursor = ""
    while True:
        change = store.transitions.sweep(queue, action, state, limit=limit, cursor=cursor)
        yield from change.affected
        if not (cursor := change.cursor):
            return


def without_time(answer: Any) -> Any:
    """What ``add`` answers without instants."""
    if not isinstance(answer, Added):
        return answer
    placed = (one and replace(one, created_ms=0, due_ms=bool(one.due_ms)) for one in answer.placed)
    return replace(answer, placed=tuple(placed))


def counted(store: Store, queue: str) -> Any:
    """What was counted; not the durations. Both stores may be in different minutes."""
    whole, totals = Tally(), store.queries.totals(queue)
    for one in store.queries.metrics(queue, 3):
        whole.add(one)
    counts = [(getattr(whole, name), getattr(totals, name)) for name in COUNTS]
    runs = {name: sum(one.counts) for name, one in totals.runs.items()}
    return counts, whole.wait.count, whole.run.count, sum(totals.wait.counts), runs


def heard(event: Event) -> tuple[str, ...]:
    return event.name, event.job_id, event.job_name


def listing(store: Store, queue: str, state: State) -> list[str]:
    found = [one.id for one in store.queries.find(queue, [state])]
    # Jobs of one millisecond have no order by due time, nor by lease.
    return sorted(found) if state in (State.DELAYED, State.ACTIVE) else found


def plain(record: Any) -> Any:
    """Everything but instants, which differ by the milliseconds between two calls."""
    if record is None:
        return None
    plain = {name: getattr(record, name) for name in record.__slots__ if not name.endswith("_ms")}
    return plain, bool(record.finished_ms), bool(record.due_ms), bool(record.processed_ms)


def found(store: Store, queue: str, state: State, where: JobFilter, limit: int) -> Iterator[str]:
    """All jobs that a filter means, page by page."""
    cursor = ""
    while True:
        page = store.queries.page(queue, state, where, cursor, limit)
        yield from (record.id for record in page.records)
        if not (cursor := page.cursor):
            return


def overview(one: QueueOverview) -> Any:
    """What is shown of a queue; not the durations."""
    counts = [getattr(one.recent, name) for name in COUNTS]
    return (
        one.name,
        one.paused,
        sorted(one.counts.items()),
        one.workers,
        one.global_concurrency,
        bool(one.held_ms),
        counts,
    )


def tried(store: Store, job_id: str) -> Any:
    """What is known of the attempts at a job, but for their instants."""
    found = store.queries.attempts(job_id)
    return found and [replace(one, started_on=0, finished_on=bool(one.finished_on)) for one in found]
