"""Waiting for permits of many queues on Redis: one command blocks on all their lists."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from stratix_kombu import forks
from stratix_kombu.config.redis_options import Node
from stratix_kombu.drivers.contract import Delivery, Watcher
from stratix_kombu.model.message import read_envelope

if TYPE_CHECKING:
    from stratix_kombu.drivers.redis import RedisDriver

BELL_S = 60
"""How long an unheard bell is kept."""


class RedisWatcher(Watcher):
    """Its bell is a list like the others, into which ``interrupt`` puts an element: so it is heard however late the
    wait begins."""

    def __init__(self, driver: RedisDriver, patience: float) -> None:
        self.patience = patience
        self._driver = driver
        self._bell = f"{driver.prefix}watch:{uuid.uuid4().hex}"
        self._client: Any = None
        self._leads_to: Node | None = None
        self._pops_many = True
        forks.register(self)

    def after_fork(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            forks.abandon_pool(client.connection_pool)

    def wait(self, queues: Sequence[str], timeout: float) -> tuple[str, list[Delivery]] | None:
        # All permits are in the list of priority 0; the others are for tasks of Celery, and half of a command's cost is
        # the number of its keys.
        keys = {self._driver.broker_queue(queue): queue for queue in queues}
        try:
            if self._client is not None and self._leads_to != self._driver.master():
                self.close()
            if self._client is None:
                self._leads_to = self._driver.master()
                self._client = self._driver.client(self.patience)
            found = self._pop([self._bell, *keys], timeout)
        except ResponseError as problem:
            if "unknown command" in str(problem).lower() and self._pops_many:
                self._pops_many = False
                return None
            self.close()
            raise self._driver.unavailable(problem) from problem
        except (RedisError, OSError) as problem:
            self.close()
            raise self._driver.unavailable(problem) from problem
        if found is None or found[0] == self._bell:
            return None
        key, raw = found
        read = read_envelope(raw)
        return keys[key], [Delivery(read.job_id, (key, raw), read.problem)]

    def _pop(self, keys: list[str], timeout: float) -> tuple[str, bytes] | None:
        if self._pops_many:
            answer = self._client.execute_command("BLMPOP", timeout, len(keys), *keys, "RIGHT", "COUNT", 1)
            return (answer[0].decode(), answer[1][0]) if answer else None
        answer = self._client.execute_command("BRPOP", *keys, max(timeout, 0.01))
        return (answer[0].decode(), answer[1]) if answer else None

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._driver.attempt(lambda link, one=delivery: link.channel.client.rpush(*one.handle))  # type: ignore[misc]

    def interrupt(self) -> None:
        def ring(link: Any) -> None:
            link.channel.client.rpush(self._bell, "")
            link.channel.client.expire(self._bell, BELL_S)

        self._driver.attempt(ring)

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
