"""Waiting for what others write: LISTEN on a connection of its own; where that is impossible, looking again and again.

A transaction does not notify, since notifying transactions of a server are committed one by one. A statement behind it
does, at most every ``QUIET_S`` for each process; what would be sooner is sent by the thread that listens.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from stratix_kombu import forks
from stratix_kombu.errors import StratixError
from stratix_kombu.model.names import new_request
from stratix_kombu.stores.postgres.connection import Connection
from stratix_kombu.stores.postgres.options import PostgresOptions, quoted

logger = logging.getLogger("stratix_kombu.stores")

QUIET_S = 0.02
AGAIN_S = 1.0
"""After so long the connection that is lost is opened again."""
POLL_S, POLL_MOST_S = 0.1, 1.0
"""How often is looked where nobody can listen: less and less often while nothing comes."""
LINGER_S = 30.0
"""So long after the last use the thread goes on."""
NOTIFY = "SELECT pg_notify($1, $2)"


class Bell:
    """Rings after each transaction: of this process at once, of others when they notify."""

    def __init__(
        self, options: PostgresOptions, open_one: Callable[[], Connection], version: Callable[[], int]
    ) -> None:
        self._options = options
        self._open = open_one
        self._version = version
        self._told = False
        self._begin_anew()
        forks.register(self)

    def _begin_anew(self) -> None:
        self._condition = threading.Condition()
        self._number = 0
        self._waiting = 0
        self._used_at = 0.0
        self._sent_at = 0.0
        self._dirty = False
        self._is_left_behind = False
        self._me = new_request()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._pipe: tuple[int, int] | None = None

    def after_fork(self) -> None:
        if self._connection is not None:
            self._connection.abandon()
        for end in self._pipe or ():
            with suppress(OSError):
                os.close(end)
        self._begin_anew()

    # -- ringing --------------------------------------------------------------------------------

    def ring(self) -> None:
        with self._condition:
            self._number += 1
            self._condition.notify_all()

    def committed(self, connection: Connection) -> None:
        """A transaction that has written has been committed on that connection."""
        with self._condition:
            self._number += 1
            self._condition.notify_all()
            now = time.monotonic()
            is_late = now - self._sent_at >= QUIET_S
            if is_late:
                self._sent_at, self._dirty = now, False
            else:
                later, self._dirty = not self._dirty, True
                if later:
                    self._begin()
        if is_late:
            connection.post(NOTIFY, self._options.channel, self._me)

    # -- waiting --------------------------------------------------------------------------------

    def changes(self) -> int:
        with self._condition:
            self._begin()
            return self._number

    def wait(self, seen: int, timeout: float) -> None:
        """Return when ``changes`` is another number than ``seen``, or after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        with self._condition:
            self._waiting += 1
            try:
                self._begin()
                while self._number == seen and (left := deadline - time.monotonic()) > 0:
                    self._condition.wait(left)
            finally:
                self._waiting -= 1
                self._used_at = time.monotonic()

    # -- the thread -----------------------------------------------------------------------------

    def _begin(self) -> None:
        """Have the thread run, and look at what is to be sent."""
        self._used_at = time.monotonic()
        if self._thread is None:
            self._pipe = os.pipe()
            for end in self._pipe:
                os.set_blocking(end, False)
            self._thread = threading.Thread(
                target=self._run, args=(self._pipe,), name="stratix-postgres-bell", daemon=True
            )
            self._thread.start()
        elif self._dirty:
            self._wake()

    def _wake(self) -> None:
        if self._pipe is not None:
            with suppress(OSError):
                os.write(self._pipe[1], b"\0")

    def _run(self, pipe: tuple[int, int]) -> None:
        pause_s = POLL_S
        while self._goes_on():
            try:
                connection = self._listening()
                pause_s = self._turn(connection, pipe[0], pause_s)
            except Exception as problem:
                if not isinstance(problem, StratixError):  # a bug of ours must not end the thread silently
                    logger.exception(
                        "%s cannot be listened to", self._options.address, extra={"action": "listen_failed"}
                    )
                self._drop()
                self.ring()  # who waits looks, and is told what is wrong
                self._rest(pipe[0], AGAIN_S)
        self._drop()

    def _goes_on(self) -> bool:
        with self._condition:
            if self._waiting or self._dirty or time.monotonic() - self._used_at < LINGER_S:
                return True
            self._thread = None
            for end in self._pipe or ():
                os.close(end)
            self._pipe = None
            return False

    def _listening(self) -> Connection:
        if self._is_left_behind:
            self._is_left_behind = False
            self._drop()
        connection = self._connection
        if connection is None:
            connection = self._connection = self._open()
            if connection.pooled:
                self._say_once()
            else:
                connection.answer(f"LISTEN {quoted(self._options.channel)}")
            self.ring()
        return connection

    def _say_once(self) -> None:
        if not self._told:
            self._told = True
            logger.info(
                "%s is behind a pooler that gives each transaction another session: nobody can listen, so idle workers "
                "look for jobs every %g to %g seconds",
                self._options.address,
                POLL_S,
                POLL_MOST_S,
                extra={"action": "polling"},
            )

    def _turn(self, connection: Connection, pipe: int, pause_s: float) -> float:
        """Send what is due, and wait for what comes; how long to wait the next time."""
        with self._condition:
            left = self._sent_at + QUIET_S - time.monotonic() if self._dirty else LINGER_S
            if left <= 0:
                self._dirty, self._sent_at = False, time.monotonic()
        if left <= 0:
            connection.answer(NOTIFY, self._options.channel, self._me)
            return pause_s
        if connection.pooled:
            seen = self._version()
            self._rest(pipe, min(left, pause_s))
            if self._version() == seen:
                return min(pause_s * 1.2, POLL_MOST_S)
            self.ring()
            return POLL_S
        self._rest(pipe, left, connection)
        if connection.notified(self._me):
            self.ring()
        return pause_s

    @staticmethod
    def _rest(pipe: int, seconds: float, connection: Connection | None = None) -> None:
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        if connection is not None:
            poll.register(connection.fd, select.POLLIN)
        poll.poll(max(seconds, 0) * 1000)
        with suppress(OSError):
            os.read(pipe, 1_000)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def connect_anew(self) -> None:
        """The server has become another one."""
        with self._condition:
            self._is_left_behind = True
            self._wake()

    def close(self) -> None:
        """Nobody waits any more: the thread ends."""
        with self._condition:
            self._used_at = float("-inf")
            self._dirty = False
            self._wake()
