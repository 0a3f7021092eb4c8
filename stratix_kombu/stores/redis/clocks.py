"""Which clock leads, on Redis; and its bell, by which it is woken."""

from __future__ import annotations

import time

from redis.exceptions import RedisClusterException, RedisError

from stratix_kombu import forks
from stratix_kombu.stores.contract import MARGIN_MS, Clocks, Lead
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.pool import Pooled
from stratix_kombu.stores.redis.scripts import Scripts

ASKED_S = 20
"""How long the server lets one request wait."""
LATE_S = 2.0
"""So much later the connection is taken to be dead."""
DEAF_MS = 250
"""The longest rest of a clock that cannot be woken."""


class RedisClocks(Clocks):
    def __init__(self, client: Client, scripts: Scripts, base: str) -> None:
        self._client = client
        self._scripts = scripts
        self._base = base
        self._bells: dict[str, _Bell] = {}
        forks.register(self)

    def after_fork(self) -> None:
        """Of another process's connection, ``drop`` closes the copy only."""
        self.close()

    def lead(self, clock: str, rest_ms: int, *, yields: bool = False) -> Lead:
        leads, next_ms, *due = self._scripts.run("lead", (clock, rest_ms, MARGIN_MS, int(yields)))
        if not leads:
            self._forget_bell(clock)
            return Lead(False, int(next_ms))
        return Lead(True, None if next_ms < 0 else int(next_ms), *map(bool, due))

    def rest(self, clock: str, for_ms: int) -> None:
        bell = self._bells.get(clock)
        if bell is None:
            bell = self._bells[clock] = _Bell(self._client, f"{self._base}:wake:{clock}")
        try:
            bell.wait(for_ms / 1000)
        except (RedisError, RedisClusterException, OSError):
            # It may not use BLPOP, or has lost a connection: if the server is unreachable, ``lead`` says so.
            self._forget_bell(clock)
            time.sleep(min(for_ms, DEAF_MS) / 1000)

    def resign(self, clock: str) -> None:
        self._scripts.run("resign", (clock,))

    def close(self) -> None:
        for clock in list(self._bells):
            self._forget_bell(clock)

    def _forget_bell(self, clock: str) -> None:
        bell = self._bells.pop(clock, None)
        if bell is not None:
            bell.drop()


class _Bell:
    """One BLPOP stays asked, and a rest is a wait for its answer that ends when it likes. So it costs no command, and
    is exact: the server looks at its own time-outs ten times a second only."""

    def __init__(self, client: Client, key: str) -> None:
        self._client = client
        self._key = key
        self._line: Pooled | None = None
        self._asked: float | None = None

    def wait(self, for_s: float) -> None:
        """Raises errors of redis, and OSError; then it is to be dropped."""
        if self._line is None or not self._client.is_current(self._line):
            self.drop()
            self._line = self._client.line(self._key)
        connection = self._line.connection
        if self._asked is None:
            connection.send_command("BLPOP", self._key, ASKED_S)
            self._asked = time.monotonic()
        if connection.can_read(timeout=for_s):
            self._asked = None
            connection.read_response()
        elif time.monotonic() > self._asked + ASKED_S + LATE_S:
            raise TimeoutError("the bell is dead")

    def drop(self) -> None:
        line, self._line, self._asked = self._line, None, None
        if line is not None:
            line.connection.disconnect()
