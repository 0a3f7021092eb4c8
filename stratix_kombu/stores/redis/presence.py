"""Presence of workers, on Redis: said once for a process, and of each queue only what is different there."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stratix_kombu.model.record import WorkerInfo
from stratix_kombu.model.workers import Led, WorkerProcess, process_of
from stratix_kombu.stores.contract import PAGE
from stratix_kombu.stores.redis.scripts import Scripts, pages

CLOSE_MS = 1_000
"""Times of one process that are no farther apart are not sent one by one."""
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)
MOST_APART = 1_000
"""For at most this many queues, what differs there is sent."""


class Presence:
    """What this process has sent to the server about the queues that it serves."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._served: dict[str, dict[str, int]] = defaultdict(dict)
        """By worker and queue: the concurrency that the server knows."""

    def serve(self, present: Sequence[WorkerInfo], known: bool) -> None:
        """Tell of queues that the worker serves since it was renewed last; of all, if it was not known."""
        worker = present[0].id
        if not known:
            self._served.pop(worker, None)
        served = self._served[worker]
        new = [one for one in present if served.get(one.queue) != one.concurrency]
        for page in pages(new, PAGE):
            flat = [part for one in page for part in (one.queue, one.concurrency)]
            self._scripts.run("serve", (worker, *flat))
            served.update((one.queue, one.concurrency) for one in page)

    def leave(self, worker: str, queues: Sequence[str]) -> None:
        """With the last of its queues, it has gone."""
        for queue in queues:
            self._served[worker].pop(queue, None)
        gone = not self._served[worker]
        if gone:
            del self._served[worker]
        for page in pages(queues, PAGE):
            self._scripts.run("leave", (worker, int(gone), *page))


def told_of(present: Sequence[WorkerInfo], every_ms: int) -> tuple[str, list[str]]:
    """What a worker says of itself; and the queues of which it says something else, each with that."""
    first = present[0]
    times = [one.idle_ms for one in present]
    idle_ms = None if None in times else min(time for time in times if time is not None)
    info = {"host": first.host, "pid": first.pid, "every_ms": every_ms, "idle_ms": idle_ms}
    all_stuck = max(one.stuck for one in present) if first.slots else sum(one.stuck for one in present)
    more = {"version": first.version, "started_ms": first.started_ms, "slots": first.slots, "all_stuck": all_stuck}
    info.update((name, value) for name, value in more.items() if value)
    apart: list[str] = []
    for one in present:
        if one.stuck or (one.idle_ms != idle_ms and (idle_ms is None or (one.idle_ms or 0) > idle_ms + CLOSE_MS)):
            apart += (one.queue, json.dumps({"idle_ms": one.idle_ms, "stuck": one.stuck}))
    return json.dumps(info), apart[: 2 * MOST_APART]


def worker_of(queue: str, now: int, found: Sequence[Any]) -> WorkerInfo | None:
    """From id, concurrency, what it says of itself and of this queue. None where that cannot be read: it will say it
    again."""
    worker, concurrency, info, apart = found
    try:
        told: Mapping[str, Any] = {**json.loads(info), **json.loads(apart or b"{}")}
        return _info(worker, queue, int(concurrency), now, told)
    except _UNREADABLE:
        return None


def process_from(found: Sequence[Any], queues: Mapping[str, int], led: Led) -> WorkerProcess | None:
    """From id, what it says of itself, and the queues that it serves. None as ``worker_of``."""
    worker, info, _ = found
    try:
        told = json.loads(info)
        told["stuck"] = told.get("all_stuck", 0)
        one = _info(worker, "", 0, led.now, told)
    except _UNREADABLE:
        return None
    slots = one.slots or sum(queues.values())
    return replace(process_of([one], led), queues=queues, slots=slots)


def _info(worker: bytes, queue: str, concurrency: int, now: int, told: Mapping[str, Any]) -> WorkerInfo:
    idle_ms = told["idle_ms"]
    if idle_ms is not None:
        idle_ms += max(now - told["told_ms"] - told["every_ms"], 0)
    return WorkerInfo(
        id=worker.decode(),
        queue=queue,
        host=told["host"],
        pid=told["pid"],
        concurrency=concurrency,
        idle_ms=idle_ms,
        stuck=told.get("stuck", 0),
        version=told.get("version", ""),
        started_ms=told.get("started_ms", 0),
        slots=told.get("slots", 0),
    )
