"""Whether the sets of waiting jobs that the Redis store keeps agree with each other and with the records."""

from __future__ import annotations

from collections import Counter
from typing import Any

from redis import Redis


def audit_order(client: Redis, namespace: str) -> list[str]:
    """What is wrong in the namespace; empty if nothing is."""
    base, redis = f"{{{namespace}}}", client
    problems: list[str] = []
    for queue in redis.smembers(f"{base}:queues"):
        problems += [f"{queue}: {one}" for one in _Queue(redis, base, str(queue)).problems()]
    return problems


class _Queue:
    def __init__(self, redis: Any, base: str, queue: str) -> None:
        self._redis, self._base, self._queue = redis, base, queue

    def _key(self, part: str) -> str:
        return f"{self._base}:q:{self._queue}:{part}"

    def _scores(self, part: str) -> dict[str, float]:
        return dict(self._redis.zrange(self._key(part), 0, -1, withscores=True))

    def _lines(self, prefix: str) -> dict[str, dict[str, float]]:
        start = self._key(prefix)
        return {
            key.removeprefix(start): self._scores(prefix + key.removeprefix(start))
            for key in self._redis.scan_iter(f"{start}*", count=10_000)
        }

    def _record(self, job_id: str) -> dict[str, str]:
        return dict(self._redis.hgetall(f"{self._base}:job:{job_id}"))

    def problems(self) -> list[str]:
        order, aside, lines, unsent = (
            self._scores("order"),
            self._scores("aside"),
            self._lines("line:"),
            self._lines("unsent:"),
        )
        in_lines = {one: score for line in lines.values() for one, score in line.items()}
        meta = self._redis.hgetall(self._key("meta"))
        problems = []
        if in_lines != aside or sum(map(len, lines.values())) != len(aside):
            problems.append(f"set aside {sorted(aside)} and in lines {sorted(in_lines)}")
        if order.keys() & aside.keys():
            problems.append(f"in order and set aside: {sorted(order.keys() & aside.keys())}")
        for name, index in (("lines", lines), ("unsent-lines", unsent)):
            if index.keys() - self._scores(name).keys():
                problems.append(f"{name} does not know {index.keys() - self._scores(name).keys()}")
        if bool(lines) > ("lined" in meta) or bool(unsent) > ("unsent_lines" in meta):
            problems.append(f"lines that nobody looks at: {meta}")
        owed = int(meta.get("owed", 0))
        if owed < 0:
            problems.append(f"owes {owed} permits")
        for name, line in lines.items():
            problems += [f"{one} is not in line {name}" for one in line if self._record(one).get("line") != name]
        for one in (*order, *aside):
            record = self._record(one)
            if record.get("state") != "waiting" or record.get("msg") or record.get("forward"):
                problems.append(f"{one} is in the order and {record}")
            if bool(record.get("line")) != (one in aside):
                problems.append(f"{one} has the line {record.get('line')} and is not set aside, or is")
        return problems + self._group_problems() + self._native_problems(unsent)

    def _group_problems(self) -> list[str]:
        active = [self._record(one) for one in self._scores("active")]
        groups = Counter(one["group"] for one in active if one.get("group"))
        counted = {group: int(count) for group, count in self._redis.hgetall(self._key("grouped")).items()}
        return [] if counted == groups else [f"counts active jobs of groups {counted}, has {dict(groups)}"]

    def _native_problems(self, lines: dict[str, dict[str, float]]) -> list[str]:
        waiting = {one for priority in range(10) for one in self._scores(f"waiting:{priority}")}
        unsent = set(self._scores("unsent")) | {one for line in lines.values() for one in line}
        problems = [f"{one} is not sent and does not wait" for one in unsent - waiting]
        return problems + [f"{one} is no native job" for one in waiting if not self._record(one).get("msg")]
