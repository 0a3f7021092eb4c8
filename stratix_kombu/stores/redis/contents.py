"""Jobs as they are, for copying them: from and into the hashes and sets of the Redis store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from stratix_kombu.model.letter import retention_from
from stratix_kombu.model.limiter import limit_from
from stratix_kombu.model.record import GATE, Deduplication, NewJob
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import PAGE, Contents, KeptEdge, KeptJob, KeptOutcome, KeptQueue
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.fields import TABLE, said_of
from stratix_kombu.stores.redis.scripts import Scripts, pages

READ_AT_ONCE = 20
_BARE = {one.word for one in TABLE if one.given and one.kept}
_RECORD = {
    "created": "created_ms",
    "number": "number",
    "due": "due_ms",
    "waiting": "waiting_ms",
    "started": "processed_ms",
    "finished": "finished_ms",
    "made": "attempts_made",
    "begun": "attempts_started",
    "stalled": "stalled_count",
    "pending": "pending",
    "logged": "logged",
}
"""Numbers: the word in the hash, and the attribute."""
_TEXTS = {
    "worker": "worker",
    "progress": "progress",
    "result": "result",
    "trace": "stacktrace",
    "failed_by": "failed_by",
}
"""'' is none."""


class RedisContents(Contents):
    def __init__(self, client: Client, scripts: Scripts, base: str) -> None:
        self._client = client
        self._scripts = scripts
        self._base = base

    def queue(self, name: str) -> KeptQueue:
        words = ("paused", "held", "limit", "global_concurrency")
        paused, held, limit, bound = self._client.run("HMGET", f"{self._base}:q:{name}:meta", *words, again=True)
        return KeptQueue(
            paused is not None,
            int(held or 0),
            limit_from(json.loads(limit)) if limit else None,
            None if bound is None else int(bound),
        )

    def read(self, ids: Sequence[str]) -> list[KeptJob]:
        found = []
        for page in pages(ids, READ_AT_ONCE):
            answer = self._scripts.run("kept", page)
            for at, job_id in enumerate(page):
                flat, place, holder, edges = answer[4 * at : 4 * at + 4]
                record = {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
                if record and record["state"] != State.ACTIVE.value:
                    found.append(self._job(job_id, record, place.decode(), holder.decode(), bool(edges)))
        return found

    def _job(self, job_id: str, record: dict[str, str], place: str, holder: str, tied: bool) -> KeptJob:
        logged = int(record.get("logged") or 0)
        lines = self._client.run("LRANGE", f"{self._base}:job:{job_id}:logs", 0, -1, again=True) if logged else []
        values = {name: int(record.get(word) or 0) for word, name in _RECORD.items()}
        return KeptJob(
            new=_new_job(job_id, record),
            state=State(record["state"]),
            tied=tied,
            place=int(place or 0),
            holds_until_ms=_holds_until(job_id, values["number"], holder),
            worker=record.get("worker", ""),
            progress=record.get("progress") or None,
            result=record.get("result") or None,
            failed_reason=record.get("reason"),
            stacktrace=record.get("trace") or None,
            cancelled=record.get("cancel"),
            failed_by=record.get("failed_by", ""),
            rerun="rerun" in record,
            logs=tuple(line.decode() for line in lines),
            **values,
        )

    def edges(self, job_id: str) -> list[KeptEdge]:
        found = {}
        for flat in self._scripts.paged("kept_edges", job_id):
            for i in range(0, len(flat), 8):
                dependency, value, place, is_left, *ended = flat[i : i + 8]
                number, _, state = value.decode().partition(":")
                how, result, reason, kind = (one.decode() for one in ended)
                outcome = KeptOutcome(how, result or None, reason, kind == GATE) if is_left else None
                name = dependency.decode()
                found[name] = KeptEdge(name, int(number or 0), state, place.decode(), outcome)
        return list(found.values())

    def write(self, jobs: Sequence[KeptJob]) -> None:
        arguments = [part for job in jobs for part in _arguments(job)]
        if arguments:
            self._scripts.run("write_kept", arguments)

    def write_edges(self, job_id: str, edges: Sequence[KeptEdge]) -> None:
        for page in pages(edges, PAGE):
            arguments: list[Any] = [job_id]
            for edge in page:
                ended = edge.outcome or KeptOutcome("", None, "", False)
                arguments += (edge.dependency, edge.number, edge.state, edge.place, int(edge.outcome is not None))
                arguments += (ended.state, ended.result or "", ended.reason, GATE if ended.gate else "")
            self._scripts.run("write_edges", arguments)


def _new_job(job_id: str, record: dict[str, str]) -> NewJob:
    throttle, dedup = record.get("throttle"), record.get("dedup")
    held = throttle or dedup
    stalls = record.get("stalls")
    return NewJob(
        id=job_id,
        queue=record["queue"],
        name=record["name"],
        data=record["data"],
        options=record.get("opts", ""),
        priority=int(record.get("prio") or 0),
        max_attempts=int(record.get("max") or 1),
        optional=record.get("optional") == "1",
        keep_completed=retention_from(record.get("keep_completed")),
        keep_failed=retention_from(record.get("keep_failed")),
        limit=limit_from(json.loads(record["limit"])) if record.get("limit") else None,
        deduplication=Deduplication(held, int(throttle is not None)) if held is not None else None,
        dead_letter=record.get("dead", ""),
        message=record.get("msg", ""),
        max_stalled=None if stalls is None else int(stalls),
        vacant="vacant" in record,
        forward="forward" in record,
        kind=record.get("kind", ""),
        group=record.get("group", ""),
    )


def _holds_until(job_id: str, number: int, holder: str) -> int | None:
    """What ``incarnation`` of base.lua made, after an instant or nothing."""
    until, _, held = holder.partition("\n")
    return int(until or 0) if held == f"{number}:{job_id}" else None


def _arguments(job: KeptJob) -> Iterator[Any]:
    new = job.new
    fields: list[Any] = ["name", new.name, "data", new.data, "queue", new.queue, "state", job.state.value]
    if new.options:
        fields += "opts", new.options
    for word, value in said_of(new).items():
        if word in _BARE:
            fields += word, 1 if value is True else value
    for word, name in (*_RECORD.items(), *_TEXTS.items()):
        if value := getattr(job, name):
            fields += word, value
    for word, text in (("reason", job.failed_reason), ("cancel", job.cancelled), ("rerun", "1" if job.rerun else None)):
        if text is not None:
            fields += word, text
    held = new.deduplication
    if held is not None:
        fields += "throttle" if held.ttl_ms else "dedup", held.id
    yield new.id
    yield json.dumps(_where(job))
    yield len(fields)
    yield from fields
    yield len(job.logs)
    yield from job.logs


def _where(job: KeptJob) -> dict[str, Any]:
    new = job.new
    at: dict[str, Any] = {"queue": new.queue, "state": job.state.value, "number": job.number, "prio": new.priority}
    at |= {"place": job.place, "due": job.due_ms}
    if new.native:
        at["native"] = True
    elif new.group:
        at["group"] = new.group
    keep = new.keep_completed if job.state is State.COMPLETED else new.keep_failed
    if job.state.finished and keep.age_ms is not None:
        at["expires"] = job.finished_ms + keep.age_ms
    if new.deduplication is not None and job.holds_until_ms is not None:
        at |= {"dedup": new.deduplication.id, "till": job.holds_until_ms}
    return at
