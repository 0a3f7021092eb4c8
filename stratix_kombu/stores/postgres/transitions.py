"""Steps that another transaction was in the way of are done again; and what users' transactions have added or completed
is taken in."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from stratix_kombu.model.record import Change, Completion, NewJob
from stratix_kombu.stores.contract import PAGE, Transitions
from stratix_kombu.stores.memory.state import Job
from stratix_kombu.stores.memory.steps import step
from stratix_kombu.stores.postgres.arrivals import new_job
from stratix_kombu.stores.postgres.completions import HELD, KEYS, key_of
from stratix_kombu.stores.postgres.database import PostgresDatabase
from stratix_kombu.stores.postgres.session import InTheWay
from stratix_kombu.stores.sql.space import SqlSpace
from stratix_kombu.stores.sql.transitions import SqlTransitions

logger = logging.getLogger("stratix_kombu.stores")

TRIES = 3
_INCOMING = "SELECT number, id, added_ms, job FROM incoming ORDER BY number LIMIT ?"
_COMPLETIONS = "SELECT number, job, token, result FROM completions ORDER BY number LIMIT ?"


class PostgresTransitions(SqlTransitions):
    """All steps, each as a whole up to three times."""

    def __init__(self, space: SqlSpace, database: PostgresDatabase) -> None:
        super().__init__(space)
        self._database = database

    @step
    def take_in(self) -> Change:
        """Make jobs of a page of those that users' transactions have added; then end a page of those that they have
        completed, which the others may depend on."""
        rows = self.space.db.all(_INCOMING, PAGE)
        for _, job_id, added_ms, text in rows:
            try:
                self._arrive(new_job(job_id, added_ms, text))
            except (KeyError, TypeError, ValueError) as problem:
                self._drop(job_id, f"what is said of it cannot be used: {problem!r}")
        self.space.db.many("DELETE FROM incoming WHERE number = ?", [row[:1] for row in rows])
        return self._end_completed(self.space.db.all(_COMPLETIONS, PAGE))

    def _end_completed(self, rows: Sequence[tuple[Any, ...]]) -> Change:
        self.space.jobs.look_ahead([job_id for _, job_id, _, _ in rows])
        ends = [Completion(job_id, token, result) for _, job_id, token, result in rows]
        change = self._end_each(ends, self._held, self._complete_one)
        self.space.db.many("DELETE FROM completions WHERE number = ?", [row[:1] for row in rows])
        for job_id in change.stale:
            logger.error(
                "the job %r was taken from its attempt before the transaction that completed it was committed",
                job_id,
                extra={"action": "completion_late", "job_id": job_id},
            )
        return change

    def _stalled(self, limit: int) -> list[Job]:
        """Without those that are completed by a transaction of a user which is under way, or which was committed since
        this step began."""
        jobs = {key_of(self._database.options.schema, job.token): job for job in super()._stalled(limit)}
        if not jobs:
            return []
        held = {int(key) for (key,) in self.space.db.all(KEYS, json.dumps([*jobs]))}
        came = {token for (token,) in self.space.db.all(HELD, json.dumps([job.token for job in jobs.values()]))}
        return [job for key, job in jobs.items() if key not in held and job.token not in came]

    def _arrive(self, new: NewJob) -> None:
        there = self.space.jobs.get(new.id)
        if there is not None and there.new.queue != new.queue and not there.is_open:
            self._drop(new.id, f"a job of the queue {there.new.queue!r} has its id")
            return
        self._add_one(new)

    @staticmethod
    def _drop(job_id: str, why: str) -> None:
        logger.error(
            "the job %r, added by a user's transaction, was dropped: %s",
            job_id,
            why,
            extra={"action": "arrival_dropped", "job_id": job_id},
        )


def _again(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def tried(self: PostgresTransitions, *args: Any, **kwargs: Any) -> Any:
        for left in range(TRIES - 1, -1, -1):
            try:
                return method(self, *args, **kwargs)
            except InTheWay:
                if not left or self._database.is_within:
                    raise
        raise AssertionError

    return tried


for _name in (*Transitions.__abstractmethods__, "complete_and_take"):
    setattr(PostgresTransitions, _name, _again(getattr(SqlTransitions, _name)))
