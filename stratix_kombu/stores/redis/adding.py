"""Adding jobs on Redis: one, many that are alike, or any; each is one script."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from stratix_kombu.errors import DependencyNotFound, JobIdTaken
from stratix_kombu.model.record import ENDED_KEPT_MS, Added, InlineQueue, NewJob, Placed, Ready
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import PAGE, check_ids
from stratix_kombu.stores.redis.answers import added_of
from stratix_kombu.stores.redis.fields import plain_fields
from stratix_kombu.stores.redis.presence import Presence
from stratix_kombu.stores.redis.records import job_arguments, rows_of
from stratix_kombu.stores.redis.scripts import Scripts

MANY = 1_000
"""So many jobs, at most, go to a script that puts all of them into an order with one command."""


class RedisAdding:
    """What all transitions need, and the first of them."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._knows_fresh = scripts.keep_ms <= ENDED_KEPT_MS
        """A job that has gone is known for as long as it may be asked to add it again."""
        self._presence = Presence(scripts)
        self._inline: InlineQueue | None = None
        self._sending: tuple[str, str, str] = ("", "", "")

    def deliver_through(self, inline: InlineQueue) -> None:
        """From now on scripts put messages into the broker's lists."""
        self._inline = inline
        self._sending = (inline.template, inline.prefix, "|".join(inline.suffixes))

    def run_sending(self, name: str, *args: Any) -> Any:
        """Run a script that may make jobs ready."""
        return self._scripts.run(name, (*self._sending, *args))

    def add(self, jobs: Sequence[NewJob]) -> Added:
        return self._add(jobs, None) if jobs else Added()

    def add_meanwhile(self, jobs: Sequence[NewJob], meanwhile: Callable[[], object]) -> Added:
        if not jobs:
            meanwhile()
            return Added()
        return self._add(jobs, meanwhile)

    def _add(self, jobs: Sequence[NewJob], meanwhile: Callable[[], object] | None) -> Added:
        if len(jobs) == 1 and jobs[0].fresh and self._knows_fresh:
            fields = plain_fields(jobs[0])
            if fields is not None:
                return self._add_fresh(jobs[0], fields, meanwhile)
        queue = jobs[0].queue
        if 1 < len(jobs) <= MANY and (rows := rows_of(jobs)):
            return self._add_many(jobs, rows, meanwhile)
        arguments: list[Any] = [*self._sending, queue, PAGE, self._to_be_known(jobs)]
        for job in jobs:
            arguments.extend(job_arguments(job, queue))
        check_ids(jobs)
        answer = self._scripts.run("add", arguments, meanwhile=meanwhile)
        if answer[0] == b"taken":
            raise JobIdTaken(answer[1].decode(), answer[2].decode())
        if answer[0] == b"unknown dependency":
            raise DependencyNotFound(answer[1].decode(), answer[2].decode())
        return added_of(len(jobs), answer)

    def _add_fresh(self, job: NewJob, fields: list[Any], meanwhile: Callable[[], object] | None) -> Added:
        inline, message, broker = self._inline, job.message, ""
        if inline is not None:
            name = f"{inline.prefix}{job.queue}"
            broker = name + inline.suffixes[job.priority if message else 0]
            message = message or inline.template % (job.id, job.id, name)
        arguments = (job.queue, job.id, job.priority, broker, message, job.name, job.data, *fields)
        created, number = self._scripts.run("add_task" if job.message else "add_fresh", arguments, meanwhile=meanwhile)
        placed = (Placed(State.WAITING, int(created), number),)
        if inline is not None:
            return Added(placed)
        return Added(placed, ready=(Ready(job.id, job.queue, job.name, job.priority, message),))

    def _add_many(self, jobs: Sequence[NewJob], rows: list[Any], meanwhile: Callable[[], object] | None) -> Added:
        inline, queue, broker, permit = self._inline, jobs[0].queue, "", ["", "", ""]
        if inline is not None:
            name = f"{inline.prefix}{queue}"
            broker = name + inline.suffixes[0]
            permit = (inline.template % ("\0", "\0", name)).split("\0")
        created, first = self._scripts.run("add_many", (queue, len(jobs), broker, *permit, *rows), meanwhile=meanwhile)
        now = int(created)
        placed = tuple([Placed(State.WAITING, now, number) for number in range(first, first + len(jobs))])
        if inline is not None:
            return Added(placed)
        return Added(placed, ready=tuple([Ready(job.id, queue, job.name, job.priority) for job in jobs]))

    def redrive(self, letter_id: str, number: int, job: NewJob) -> Added | None:
        arguments = (letter_id, number, PAGE, job.queue, *job_arguments(job, job.queue))
        answer = self.run_sending("redrive", *arguments)
        return None if answer is None else added_of(1, answer)

    @staticmethod
    def _to_be_known(jobs: Sequence[NewJob]) -> str:
        """Edges whose ends are not both in this call, in order: the server must know the dependency."""
        known: set[str] = set()
        edges = []
        for job in jobs:
            if job.id not in known:  # the second of two with one id is a duplicate, whatever it depends on
                edges += [(job.id, one) for one in job.dependencies if one not in known]
            known.add(job.id)
        return json.dumps(edges) if any(job.dependencies for job in jobs) else ""
