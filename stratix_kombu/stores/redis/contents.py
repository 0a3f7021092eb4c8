"""Jobs as they are, for copying them: from and into the hashes and sets of the Redis store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from stratix_kombu.model.fields import TABLE, WIRE, Field, Kind
from stratix_kombu.model.letter import retention_from
from stratix_kombu.model.limiter import limit_from
from stratix_kombu.model.record import GATE, Deduplication, NewJob
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import PAGE, Contents, KeptEdge, KeptJob, KeptOutcome, KeptQueue
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.fields import said_of
from stratix_kombu.stores.redis.scripts import Scripts, pages

READ_AT_ONCE = 20
_HELD = ("deduplication", "throttle")
"""The id that is held until the job ends, or for a time."""
_GIVEN = [one for one in TABLE if one.is_given and one.lasting and one.name not in ("due_ms", *_HELD)]
_KEPT_NAMES = {one.name for one in fields(KeptJob)}
_KEPT = [one for one in TABLE if one.name in _KEPT_NAMES and one.name not in ("state", "place")]
"""What may change; ``logged`` besides."""
_LOGGED = "logged"
_READS: dict[Kind, Callable[[str], Any]] = {
    Kind.NUMBER: lambda value: int(value or 0),
    Kind.FLAG: lambda value: value == "1",
    Kind.FULL: lambda value: value or None,
    Kind.RETENTION: retention_from,
    Kind.LIMIT: lambda value: limit_from(json.loads(value)) if value else None,
}
"""From the value in the hash; the others are text."""


def _value(one: Field, record: dict[str, str]) -> Any:
    said = record.get(one.wire)
    if said is None:
        return None if one.kind is Kind.NOTE else one.absent
    return _READS.get(one.kind, str)(said)


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
                if record and record[WIRE["state"]] != State.ACTIVE.value:
                    found.append(self._job(job_id, record, place.decode(), holder.decode(), bool(edges)))
        return found

    def _job(self, job_id: str, record: dict[str, str], place: str, holder: str, tied: bool) -> KeptJob:
        logged = int(record.get(_LOGGED) or 0)
        lines = self._client.run("LRANGE", f"{self._base}:job:{job_id}:logs", 0, -1, again=True) if logged else []
        values = {one.name: _value(one, record) for one in _KEPT}
        tried = values["attempts_started"] or values["attempts_made"]
        attempts = self._client.run("LRANGE", f"{self._base}:attempts:{job_id}", 0, -1, again=True) if tried else []
        return KeptJob(
            **values,
            new=_new_job(job_id, record),
            state=State(record[WIRE["state"]]),
            tied=tied,
            place=int(place or 0),
            holds_until_ms=_holds_until(job_id, values["number"], holder),
            logs=tuple(line.decode() for line in lines),
            logged=logged,
            attempts=tuple(tuple(json.loads(one)) for one in attempts),
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
    until_end, for_a_time = (record.get(WIRE[name]) for name in _HELD)
    held = until_end or for_a_time
    given = {one.name: _value(one, record) for one in _GIVEN}
    return NewJob(
        **given, id=job_id, deduplication=Deduplication(held, int(for_a_time is not None)) if held is not None else None
    )


def _holds_until(job_id: str, number: int, holder: str) -> int | None:
    """What ``incarnation`` of base.lua made, after an instant or nothing."""
    until, _, held = holder.partition("\n")
    return int(until or 0) if held == f"{number}:{job_id}" else None


def _arguments(job: KeptJob) -> Iterator[Any]:
    new = job.new
    said: dict[str, Any] = {"name": new.name, "data": new.data, "queue": new.queue, "state": job.state.value}
    if new.options:
        said["options"] = new.options
    said |= {name: value for name, value in said_of(new).items() if name not in ("due_ms", *_HELD)}
    for one in _KEPT:
        value = getattr(job, one.name)
        if value or (value is not None and one.kind in (Kind.MAYBE, Kind.NOTE)):
            said[one.name] = value
    if new.deduplication is not None:
        said[_HELD[bool(new.deduplication.ttl_ms)]] = new.deduplication.id
    words = [part for name, value in said.items() for part in (WIRE[name], 1 if value is True else value)]
    if job.logged:
        words += _LOGGED, job.logged
    yield new.id
    yield json.dumps(_where(job))
    yield len(words)
    yield from words
    yield len(job.logs)
    yield from job.logs
    yield len(job.attempts)
    yield from map(json.dumps, job.attempts)


def _where(job: KeptJob) -> dict[str, Any]:
    new = job.new
    at: dict[str, Any] = {"queue": new.queue, "state": job.state.value, "number": job.number, "priority": new.priority}
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
