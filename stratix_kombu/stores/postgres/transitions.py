"""What users' transactions have added or completed is taken in, and is not overtaken."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from stratix_kombu.model.record import ANY_CLAIM, Change, Completion, Failure, HandOver, Held, NewJob
from stratix_kombu.stores.contract import PAGE
from stratix_kombu.stores.memory.state import Job
from stratix_kombu.stores.memory.steps import step
from stratix_kombu.stores.postgres.arrivals import Arrival, arrival, in_order
from stratix_kombu.stores.postgres.completions import completing, none_completing, overtaking
from stratix_kombu.stores.postgres.database import PostgresDatabase
from stratix_kombu.stores.sql.jobs import Jobs
from stratix_kombu.stores.sql.space import SqlSpace
from stratix_kombu.stores.sql.transitions import SqlTransitions

logger = logging.getLogger("stratix_kombu.stores")

_INCOMING = "SELECT number, id, added_ms, job FROM incoming ORDER BY number LIMIT ?"
_NAMED = (
    "SELECT number, id, added_ms, job FROM incoming "
    "WHERE id IN (SELECT json_array_elements_text(CAST(? AS json))) ORDER BY number"
)
_COMPLETIONS = "SELECT number, job, token, result FROM completions ORDER BY number LIMIT ?"


class PostgresTransitions(SqlTransitions):
    """All steps."""

    def __init__(self, space: SqlSpace, database: PostgresDatabase) -> None:
        super().__init__(space)
        self._database = database

    @step
    def take_in(self) -> Change:
        """Make jobs of a page of those that users' transactions have added; then end a page of those that they have
        completed, which the others may depend on."""
        arrivals = in_order(self._arrivals())[:PAGE]
        for one in arrivals:
            if one.new is None:
                self._drop(one.id, f"what is said of it cannot be used: {one.problem}")
            else:
                self._arrive(one.new)
        self.space.db.many("DELETE FROM incoming WHERE number = ?", [(one.number,) for one in arrivals])
        return self._end_completed(self.space.db.all(_COMPLETIONS, PAGE))

    def _arrivals(self) -> list[Arrival]:
        """A page, and whatever has come of what these depend on, in turn: a transaction may have added it later."""
        latest = [arrival(*row) for row in self.space.db.all(_INCOMING, PAGE)]
        found, known = latest, {one.id for one in latest}
        while asked := {job_id for one in latest for job_id in one.dependencies} - known:
            latest = [arrival(*row) for row in self.space.db.all(_NAMED, json.dumps([*asked]))]
            found, known = [*found, *latest], known | asked
        return found

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

    # -- beside completions that are under way ---------------------------------------------------

    def complete(self, results: Sequence[Completion]) -> Change:
        if any(one.token == ANY_CLAIM for one in results):
            return self._end(results, super().complete)
        return super().complete(results)

    def fail(self, failures: Sequence[Failure]) -> Change:
        return self._end(failures, super().fail)

    def hand_over(self, jobs: Sequence[HandOver]) -> Change:
        return self._end(jobs, super().hand_over)

    def hand_back(self, held: Sequence[Held]) -> Change:
        return self._end(held, super().hand_back)

    def _end(self, ends: Sequence[Any], end: Callable[[Any], Change]) -> Change:
        """End these claims, but for those whose completion was committed since this step began, or is about to be."""
        asked = completing(self._database.options.schema, [one.token for one in ends])
        self.space.db.ahead(asked, Jobs.asked([one.job_id for one in ends]))
        return self._unless_completing(ends, end)

    @step
    def _unless_completing(self, ends: Sequence[Any], end: Callable[[Any], Change]) -> Change:
        self.space.jobs.look_ahead([one.job_id for one in ends])
        tokens = [self._token(one.job_id) if one.token == ANY_CLAIM else one.token for one in ends]
        kept = self._completing(tokens, True)
        late = [one.job_id for one, token in zip(ends, tokens, strict=True) if token in kept]
        change = end([one for one, token in zip(ends, tokens, strict=True) if token not in kept])
        return replace(change, stale=(*change.stale, *late))

    def _token(self, job_id: str) -> str:
        """Of the claim on that job, '' if there is none."""
        job = self.space.jobs.get(job_id)
        return "" if job is None else job.token

    def _completing(self, tokens: Sequence[str], overtakes: bool) -> set[str]:
        """Which of these claims are not to be ended."""
        if not tokens:
            return set()
        schema = self._database.options.schema
        if overtakes and self._database.presumes:
            self._database.require(none_completing(schema, tokens))
            return set()
        held, came = self._database.each(completing(schema, tokens))
        if held and overtakes:
            sql, values = overtaking(schema, tokens)
            return {token for (token,) in self.space.db.all(sql, *values)}
        return {token for (token,) in (*held, *came)}

    def _stalled(self, limit: int) -> list[Job]:
        """Without those that are completed by a transaction of a user which is under way, or which was committed since
        this step began."""
        asked = limit
        while True:
            page = super()._stalled(asked)
            kept = self._completing([job.token for job in page], False)
            left = [job for job in page if job.token not in kept]
            if len(left) >= limit or len(page) < asked:
                return left[:limit]
            asked *= 2

    # -- adding ---------------------------------------------------------------------------------

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
