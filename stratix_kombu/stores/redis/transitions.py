"""The life of a job on Redis: each method is one script."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from stratix_kombu.errors import (
    DependencyCycle,
    DependencyNotFound,
    InvalidJobState,
    InvalidPayload,
    JobAlreadyStarted,
    JobNotFound,
    StoreUnavailable,
)
from stratix_kombu.model.claims import NO_BOUNDS, Bounds, Claimed, Refused, Taken
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import (
    MAX_REASON_BYTES,
    Change,
    Completion,
    Failure,
    HandOver,
    Held,
    Limit,
    Renewed,
    WorkerInfo,
)
from stratix_kombu.model.state import Action, Refusal, State, Sweep
from stratix_kombu.model.text import bounded
from stratix_kombu.stores.contract import PAGE, UNUSED_MS, Transitions
from stratix_kombu.stores.redis.adding import RedisAdding
from stratix_kombu.stores.redis.answers import change_of, completion_arguments, fallback_text
from stratix_kombu.stores.redis.fields import CLAIMED
from stratix_kombu.stores.redis.presence import told_of
from stratix_kombu.stores.redis.records import ClaimsOf, then_text
from stratix_kombu.stores.redis.taking import Take
from stratix_kombu.stores.redis.texts import limit_text

logger = logging.getLogger("stratix_kombu.stores")

UNFINISHED = [state.value for state in State if not state.finished]
GRAPH_CHECKS = 100
"""How often the graph may change while it is looked at for a cycle."""
NOT_BEGUN = ["waiting", "delayed", "blocked"]
NOT_ACTIVE = [state.value for state in State if state is not State.ACTIVE]


class RedisTransitions(RedisAdding, Transitions):
    # -- what a job waits for -------------------------------------------------------------------

    def add_dependency(self, job_id: str, *dependency_ids: str) -> Change:
        graph: Any = ""
        dependency_ids = tuple(dict.fromkeys(dependency_ids))
        for _ in range(GRAPH_CHECKS):
            answer = self.run_sending("add_dependency", job_id, PAGE, graph, *dependency_ids)
            if answer[0] != b"unsure":
                named = answer[1].decode() if answer[0] in (b"unknown", b"cycle") else ""
                self._check_edge(answer, job_id, named)
                return change_of(answer)
            # The graph is large: it is looked at page by page, and nothing is written if it has changed meanwhile.
            graph = answer[1]
            if self._is_reached(job_id, dependency_ids):
                raise DependencyCycle(job_id, dependency_ids[0])
        raise StoreUnavailable(
            self._scripts.address, f"dependencies change faster than those of {job_id!r} can be checked for a cycle"
        )

    def _is_reached(self, job_id: str, others: Sequence[str]) -> bool:
        """Whether one of the others waits for the job."""
        seen = {*others}
        pending: list[tuple[str, Any]] = [(one, "0") for one in others]
        while pending:
            page = pending[:PAGE]
            found = self._scripts.run("reach", (PAGE, *(part for one in page for part in one)))
            del pending[: len(found)]
            for (one, _), (cursor, ids) in zip(page, found, strict=False):
                if cursor != b"0":
                    pending.append((one, cursor))
                new = {each.decode() for each in ids} - seen
                if job_id in new:
                    return True
                seen |= new
                pending += [(each, "0") for each in new]
        return False

    def remove_dependency(self, job_id: str, dependency_id: str) -> Change:
        answer = self.run_sending("remove_dependency", job_id, dependency_id, PAGE)
        self._check_edge(answer, job_id, dependency_id)
        return change_of(answer)

    @staticmethod
    def _check_edge(answer: Sequence[Any], job_id: str, dependency_id: str) -> None:
        match answer[0]:
            case b"gone":
                raise JobNotFound(job_id)
            case b"started":
                raise JobAlreadyStarted(job_id, answer[1].decode())
            case b"unknown":
                raise DependencyNotFound(job_id, dependency_id)
            case b"cycle":
                raise DependencyCycle(job_id, dependency_id)

    # -- running --------------------------------------------------------------------------------

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
        asked = Take(queue, worker, request or new_request())
        return asked.answer(self.run_sending("take", *asked.arguments(lease_ms, want, bounds, permits)))

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
        asked = Take(queue, worker, request or new_request())
        arguments = (*asked.arguments(lease_ms, want, bounds, permits), PAGE, *completion_arguments(results))
        *change, taken = self.run_sending("complete_and_take", *arguments)
        return change_of(change), asked.answer(taken)

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
        claimed, request = Claimed(), request or new_request()
        if not ids:
            return claimed
        given = (limit_text(bounds.limit), bounds.global_concurrency, bounds.group_concurrency)
        arguments = (queue, worker, lease_ms, *given, fallback_text(bounds.fallback), request, *ids)
        now, answers = self._scripts.run("claim", arguments)
        found = ClaimsOf(queue, worker, request, now)
        for position, (job_id, why, at, *answer) in enumerate(answers):
            if why:
                claimed.refused.append(Refused(job_id.decode(), Refusal(why.decode()), int(at)))
                continue
            begun, values = answer[0], zip(CLAIMED, answer[1], strict=False)
            try:
                claimed.claims.append(found.read(job_id, position, at, begun, values))
            except InvalidPayload as problem:
                logger.warning("%s", problem, extra={"action": "record_unreadable", "queue": queue})
                claimed.refused.append(Refused(job_id.decode(), Refusal.GONE))
        return claimed

    def renew(
        self,
        present: Sequence[WorkerInfo],
        held: Sequence[Held],
        lease_ms: int,
        *,
        every_ms: int = 0,
        asked: Sequence[str] = (),
    ) -> Renewed:
        info, apart = told_of(present, every_ms) if present else ("", [])
        flat = [part for one in held for part in (one.job_id, one.token)]
        worker = present[0].id if present else ""
        arguments = (worker, info, lease_ms, len(asked), len(apart) // 2, *asked, *apart, *flat)
        known, *answers = self._scripts.run("renew", arguments)
        if present:
            self._presence.serve(present, bool(known))
        paused, lost, cancelled = (frozenset(one.decode() for one in answer) for answer in answers)
        return Renewed(lost, paused, cancelled)

    def leave(self, worker: str, queues: Sequence[str]) -> None:
        self._presence.leave(worker, queues)

    def complete(self, results: Sequence[Completion]) -> Change:
        return change_of(self.run_sending("complete", PAGE, *completion_arguments(results)))

    def fail(self, failures: Sequence[Failure]) -> Change:
        arguments: list[Any] = [PAGE]
        for one in failures:
            retry = "" if one.retry_ms is None else one.retry_ms
            reason = bounded(one.reason, MAX_REASON_BYTES)
            arguments += (one.job_id, one.token, reason, one.stacktrace, retry, one.error, then_text(one.then))
        return change_of(self.run_sending("fail", *arguments))

    def hand_over(self, jobs: Sequence[HandOver]) -> Change:
        arguments: list[Any] = [PAGE]
        for one in jobs:
            reason = bounded(one.reason, MAX_REASON_BYTES)
            arguments += (one.job_id, one.token, reason, one.stacktrace, then_text(one.then))
        return change_of(self.run_sending("hand_over", *arguments))

    def hand_back(self, held: Sequence[Held]) -> Change:
        flat = (part for one in held for part in (one.job_id, one.token))
        return change_of(self.run_sending("hand_back", PAGE, *flat))

    def release(self, limit: int = PAGE) -> Change:
        return change_of(self.run_sending("release", limit))

    # -- the record -----------------------------------------------------------------------------

    def progress(self, job_id: str, value: str) -> None:
        if not self._scripts.run("update", (job_id, "progress", value)):
            raise JobNotFound(job_id)

    def log(self, job_id: str, line: str, keep: int) -> int:
        lines = int(self._scripts.run("log", (job_id, line, keep)))
        if lines < 0:
            raise JobNotFound(job_id)
        return lines

    def update_data(self, job_id: str, data: str) -> None:
        if not self._scripts.run("update", (job_id, "data", data)):
            raise JobNotFound(job_id)

    # -- the clock ------------------------------------------------------------------------------

    def promote(self, limit: int = PAGE) -> tuple[Change, int | None]:
        answer = self.run_sending("promote", limit)
        return change_of(answer), None if answer[3] < 0 else int(answer[3])

    def recover(self, max_stalled: int, limit: int = PAGE) -> Change:
        return change_of(self.run_sending("recover", max_stalled, limit, PAGE, UNUSED_MS))

    def redeliver(self, queue: str, grace_ms: int, depth: int | None, limit: int = PAGE, *, sent: int = 0) -> Change:
        held = "" if depth is None else depth
        return change_of(self.run_sending("redeliver", queue, grace_ms, held, limit, sent))

    def expire(self, limit: int = PAGE) -> Change:
        return change_of(self.run_sending("expire", limit))

    # -- by hand --------------------------------------------------------------------------------

    def pause(self, queue: str) -> bool:
        return bool(self._scripts.run("pause", (queue,)))

    def resume(self, queue: str, limit: int = PAGE) -> Change:
        return change_of(self.run_sending("resume", queue, limit))

    def set_limit(self, queue: str, limit: Limit | None) -> Change:
        return change_of(self.run_sending("set_bound", queue, "limit", limit_text(limit), PAGE))

    def set_global_concurrency(self, queue: str, global_concurrency: int | None) -> Change:
        value = "" if global_concurrency is None else global_concurrency
        return change_of(self.run_sending("set_bound", queue, "global_concurrency", value, PAGE))

    def hold(self, queue: str, for_ms: int) -> Change:
        return change_of(self.run_sending("hold", queue, for_ms, PAGE))

    def retry(self, job_id: str) -> Change:
        answer = self.run_sending("retry", job_id, PAGE)
        return self._by_hand(answer, job_id, "retry", ["failed"])

    def rerun(self, job_id: str, dependents: bool = False) -> Change:
        answer = self.run_sending("rerun", job_id, PAGE, int(dependents))
        return self._by_hand(answer, job_id, "rerun", ["completed"])

    def cancel(self, job_id: str, reason: str, error: str = "") -> Change:
        answer = self.run_sending("cancel", job_id, bounded(reason, MAX_REASON_BYTES), error, PAGE)
        return self._by_hand(answer, job_id, "cancel", UNFINISHED)

    def promote_job(self, job_id: str) -> Change:
        return self._by_hand(self.run_sending("promote_job", job_id), job_id, "promote", ["delayed"])

    def change_delay(self, job_id: str, delay_ms: int) -> Change:
        answer = self.run_sending("change_delay", job_id, delay_ms)
        return self._by_hand(answer, job_id, "change the delay of", ["delayed"])

    def change_priority(self, job_id: str, priority: int) -> Change:
        answer = self._scripts.run("change_priority", (job_id, priority))
        return self._by_hand(answer, job_id, "change the priority of", NOT_BEGUN)

    def each(
        self, queue: str, action: Action, ids: Sequence[str], state: State | None = None, reason: str = ""
    ) -> Change:
        found = "" if state is None else state.value
        arguments = (queue, action.value, found, bounded(reason, MAX_REASON_BYTES), PAGE, *ids)
        return change_of(self.run_sending("each", *arguments))

    def sweep(
        self, queue: str, action: Sweep, state: State, older_ms: int = 0, limit: int = PAGE, cursor: str = ""
    ) -> Change:
        return change_of(self.run_sending("sweep", queue, action.value, state.value, older_ms, limit, PAGE, cursor))

    def forget_queue(self, queue: str) -> bool:
        return bool(self._scripts.run("forget_queue", (queue,)))

    def remove(self, job_id: str) -> Change:
        return self._by_hand(self.run_sending("remove", job_id, PAGE), job_id, "remove", NOT_ACTIVE)

    @staticmethod
    def _by_hand(answer: Sequence[Any], job_id: str, operation: str, allowed: list[str]) -> Change:
        if answer[0] == b"gone":
            raise JobNotFound(job_id)
        if answer[0] == b"state":
            raise InvalidJobState(job_id, answer[1].decode(), operation, allowed)
        return change_of(answer)
