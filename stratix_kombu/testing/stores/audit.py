"""Whether a store's records, sets and counters agree."""

from __future__ import annotations

from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Store


def audit(store: Store) -> list[str]:
    """What is wrong in the namespace; empty if nothing is. For a store at rest, with nothing left to release.

    >>> audit(store)  # doctest: +SKIP
    []
    """
    problems: list[str] = []
    for queue in store.queries.queues():
        status = store.queries.status(queue)
        for state in State:
            records = every(store, queue, state)
            counted = status.counts[state.value]
            if status.paused and state is State.WAITING:
                counted = status.counts["paused"]
            if counted != len(records):
                problems.append(f"{queue}: {counted} jobs counted as {state}, {len(records)} found")
            problems += [f"{one.id} is listed as {state} and is {one.state}" for one in records if one.state != state]
            for record in records:
                problems += _audit_job(store, record)
    return problems


def every(store: Store, queue: str, state: State) -> list[JobRecord]:
    """All records of a state, the oldest first."""
    found: dict[str, JobRecord] = {}
    cursor = ""
    while True:
        page, cursor = store.queries.scan(queue, state, cursor)
        found.update((one.id, one) for one in page)
        if not cursor:
            return list(found.values())


def _audit_job(store: Store, record: JobRecord) -> list[str]:
    problems = []
    if record.state.finished != bool(record.finished_ms):
        problems.append(f"{record.id} is {record.state} and has the end {record.finished_ms}")
    may_have = record.result is None or record.state in (State.COMPLETED, State.FAILED)
    if not may_have or (record.result is None and record.state is State.COMPLETED):
        problems.append(f"{record.id} is {record.state} and has the result {record.result}")
    if record.state is State.BLOCKED and not record.pending and not record.vacant:
        problems.append(f"{record.id} is blocked and waits for nothing")
    if record.state in (State.WAITING, State.ACTIVE, State.DELAYED) and record.pending and not record.vacant:
        problems.append(f"{record.id} is {record.state} and waits for {record.pending} jobs")
    if record.attempts_made > record.attempts_started:
        problems.append(f"{record.id} ended {record.attempts_made} of {record.attempts_started} attempts")
    if record.state is State.BLOCKED:
        states = store.queries.dependencies(record.id)
        unfinished = [one for one, state in states.items() if state is not None and not state.finished]
        if len(unfinished) < record.pending:  # more, if the id of one that was removed is used again
            problems.append(f"{record.id} counts {record.pending} dependencies and has {len(unfinished)} unfinished")
        for dependency in unfinished if len(unfinished) == record.pending else ():
            if record.id not in store.queries.dependents(dependency):
                problems.append(f"{dependency} does not know its dependent {record.id}")
    return problems
