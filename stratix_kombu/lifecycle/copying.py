"""Copying all jobs of a store to another one, while nothing runs."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.record import LETTER
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import PAGE, Contents, KeptJob, Store

STATES = tuple(state for state in State if state is not State.ACTIVE)
AT_ONCE = 100
"""How many jobs one step writes."""
MAX_STALLED = 1
"""As workers have it by default."""
LEADS_MS = 30_000
MARK = "stratix:copy"
"""The lock of the new store while it has only a part of the jobs; its token says where they come from."""
MARKED_MS = 365 * 24 * 3_600_000


@dataclass
class Copied:
    """What was copied."""

    jobs: Counter[State] = field(default_factory=Counter)
    letters: int = 0
    """Of these jobs, how many are dead letters."""
    log_lines: int = 0
    edges: int = 0
    queues: int = 0
    schedules: int = 0


class StoreChanged(Exception):
    """Something has used one of the stores while they were copied, or does it now."""


class Copy:
    """From one store to another. ``on_progress`` is called with the number of jobs so far. It may be repeated: what is
    there already stays as it is."""

    def __init__(self, source: Store, target: Store, origin: str, on_progress: Callable[[int], None]) -> None:
        """``origin`` names the source and its namespace. Raises ConfigurationError where that cannot be copied."""
        self._source, self._from = source, _contents(source)
        self._target, self._to = target, _contents(target)
        self._origin = origin
        self._on_progress = on_progress
        self._clock = f"copy:{uuid.uuid4().hex}"
        self._copied = Copied()

    def run(self) -> Copied:
        """Copy all. Raises StoreChanged, ConfigurationError, StoreUnavailable."""
        self._begin()
        try:
            self._lead()
            self._settle()
            queues = self._source.queries.queues()
            tied = [job_id for queue in queues for job_id in self._queue(queue)]
            for job_id in tied:
                self._edges(job_id)
            for schedule in self._source.schedules.all():
                self._target.schedules.put(schedule)
                self._copied.schedules += 1
            self._compare(queues)
            self._target.locks.release(MARK, self._origin)
        finally:
            for store in (self._source, self._target):
                store.clocks.resign(self._clock)
        return self._copied

    def _begin(self) -> None:
        target = self._target
        check_unused(self._source, target)
        if target.locks.extend(MARK, self._origin, MARKED_MS):  # an earlier copy was interrupted
            return
        if there := target.queries.queues():
            raise ConfigurationError(f"{target.address} is not empty: it has the queues {', '.join(there[:5])}")
        if schedules := target.schedules.all():
            raise ConfigurationError(f"{target.address} is not empty: it has the schedule {schedules[0].key}")
        if not target.locks.acquire(MARK, self._origin, MARKED_MS):
            raise ConfigurationError(
                f"{target.address} has a part of the jobs of another store: begin with an empty one"
            )

    def _lead(self) -> None:
        """No clock may move jobs meanwhile."""
        for store in (self._source, self._target):
            if not store.clocks.lead(self._clock, LEADS_MS).leads:
                raise StoreChanged(
                    f"a process that promotes delayed jobs and repeats jobs uses {store.address}, or was killed less "
                    "than a minute ago"
                )

    def _settle(self) -> None:
        """What a crash has left over is done in the source: jobs of workers that were killed count as stalled."""
        steps = self._source.transitions
        while steps.release().more or steps.recover(MAX_STALLED).more:
            pass
        for queue in self._source.queries.queues():
            if active := self._source.queries.status(queue).counts["active"]:
                raise StoreChanged(
                    f"{active} jobs of {queue} are active: their worker was killed, and their leases have not expired; "
                    "try again in a minute"
                )

    def _queue(self, queue: str) -> Iterator[str]:
        """The ids of its jobs that depend on others."""
        kept, steps = self._from.queue(queue), self._target.transitions
        if kept.paused:
            steps.pause(queue)
        if kept.limit is not None:
            steps.set_limit(queue, kept.limit)
        if kept.global_concurrency is not None:
            steps.set_global_concurrency(queue, kept.global_concurrency)
        held_ms = kept.held_until_ms - self._source.queries.now()
        if held_ms > 0:
            steps.hold(queue, held_ms)
        self._copied.queues += 1
        for state in STATES:
            for page in self._pages(queue, state):
                self._to.write(page)
                self._count(page)
                yield from (job.new.id for job in page if job.tied)

    def _pages(self, queue: str, state: State) -> Iterator[list[KeptJob]]:
        cursor, seen = "", set[str]()
        while True:
            self._lead()
            records, cursor = self._source.queries.scan(queue, state, cursor, AT_ONCE)
            ids = [one.id for one in records if one.id not in seen]  # one may be in two pages
            seen = {one.id for one in records}
            if unnumbered := [one.id for one in records if not one.number]:
                raise ConfigurationError(
                    f"the job {unnumbered[0]!r} was added by a release that gave jobs no numbers: remove it first"
                )
            if ids:
                yield self._from.read(ids)
            if not cursor:
                return

    def _count(self, page: list[KeptJob]) -> None:
        for job in page:
            self._copied.jobs[job.state] += 1
            self._copied.letters += job.new.kind == LETTER
            self._copied.log_lines += len(job.logs)
        self._on_progress(self._copied.jobs.total())

    def _edges(self, job_id: str) -> None:
        self._lead()
        edges = self._from.edges(job_id)
        for start in range(0, len(edges), PAGE):
            self._to.write_edges(job_id, edges[start : start + PAGE])
        self._copied.edges += len(edges)

    def _compare(self, queues: list[str]) -> None:
        check_unused(self._source, self._target)
        if self._source.queries.queues() != queues:
            raise StoreChanged(f"{self._source.address} was used while it was copied; copy again")
        for queue in queues:
            before, after = (store.queries.status(queue).counts for store in (self._source, self._target))
            if before != after:
                raise StoreChanged(
                    f"{queue} was used while it was copied: it has {_shown(before)} in {self._source.address}, and "
                    f"{_shown(after)} in {self._target.address}; begin again with an empty one"
                )


def check_unused(*stores: Store) -> None:
    """Raises StoreChanged, naming workers, while a store has any."""
    for store in stores:
        present = {
            worker.id: f"{worker.id} ({worker.host}, process {worker.pid}) serves {queue}"
            for queue in store.queries.queues()
            for worker in store.queries.workers(queue)
        }
        if present:
            raise StoreChanged(
                f"workers use {store.address}; stop them first (one that was killed is listed until its lease "
                f"expires): {'; '.join(sorted(present.values())[:10])}"
            )


def _contents(store: Store) -> Contents:
    if store.contents is None:
        raise ConfigurationError(f"jobs of {store.address} cannot be copied: the store does not support it")
    return store.contents


def _shown(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no jobs"
