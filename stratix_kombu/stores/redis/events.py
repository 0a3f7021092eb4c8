"""The logs of the Redis store: one stream a queue."""

from __future__ import annotations

from typing import Any

from stratix_kombu.model.event import Event
from stratix_kombu.stores.contract import EventLog
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.records import text
from stratix_kombu.stores.redis.scripts import Scripts


class RedisEventLog(EventLog):
    def __init__(self, client: Client, scripts: Scripts, base: str) -> None:
        self._client = client
        self._scripts = scripts
        self._base = base

    def append(self, queue: str, name: str, job_id: str = "", value: str | None = None) -> None:
        self._scripts.run("append_event", (queue, name, job_id, "" if value is None else "1", value or ""))

    def tail(self, queue: str) -> str:
        newest = self._client.run("XREVRANGE", self._key(queue), "+", "-", "COUNT", 1, again=True)
        return newest[0][0].decode() if newest else "0-0"

    def read(self, queue: str, cursor: str, limit: int = 1000, wait_ms: int = 0) -> list[Event]:
        after = "0-0" if cursor == "0" else cursor
        return [_event(queue, entry) for entry in self._client.read_stream(self._key(queue), after, limit, wait_ms)]

    def _key(self, queue: str) -> str:
        return f"{self._base}:q:{queue}:events"


def _event(queue: str, entry: Any) -> Event:
    cursor, fields = entry[0].decode(), entry[1]
    value = fields.get(b"v")
    job_id = text(fields.get(b"i"))
    if not job_id and not value:
        value = None
    return Event(
        cursor, queue, fields[b"e"].decode(), job_id, int(cursor.partition("-")[0]),
        None if value is None else value.decode(), text(fields.get(b"n")),
    )  # fmt: skip
