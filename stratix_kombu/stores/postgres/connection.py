"""One connection to the server: statements are sent together, and their answers read together.

The protocol of psycopg (``psycopg.pq``) is used without its cursors: a step is two or three messages of many statements
each, which are prepared once a connection, and every wait has an end.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import psycopg
from psycopg import pq

from stratix_kombu import forks
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.model.pauses import stood_still
from stratix_kombu.stores.postgres.errors import OF_VALUES, Refused, lost, reported_connect, unavailable
from stratix_kombu.stores.postgres.options import PostgresOptions
from stratix_kombu.stores.postgres.values import Decoder, decoder_of, encoded

MARGIN_S = 1.0
"""So much longer than the server may work on a statement its answer is waited for."""
PREPARED_MOST = 400
"""Statements that are prepared in one connection; what comes after them is sent as it is."""
IDLE_MS = 5_000
"""A process that stops in the middle of a step does not keep the namespace locked for longer, or for the time that a
step may take if that is more."""
SETTINGS = {"enable_seqscan": "off", "jit": "off"}
"""Plans are made while tables may be empty, and are used when they are large."""

_GOOD = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY)
Statement = tuple[str, Sequence[Any]]
Rows = list[tuple[Any, ...]]


class Answer:
    """What a statement has answered."""

    __slots__ = ("changed", "rows")

    def __init__(self, rows: Rows, changed: int) -> None:
        self.rows = rows
        self.changed = changed


class Connection:
    """To be used by one thread at a time. Raises StoreUnavailable, and Refused where the server refuses a statement."""

    def __init__(self, options: PostgresOptions) -> None:
        self._options = options
        self._names: dict[str, bytes] = {}
        self._decoders: dict[str, tuple[Decoder, ...]] = {}
        self._prepared = 0
        self._owed = 0
        """Syncs whose answers were not read yet."""
        self._posted: list[str] = []
        """Statements whose answers nobody waits for."""
        self.used_at = self._answer_by = time.monotonic()
        self.is_read_only = False
        with reported_connect(options):
            self._psycopg = psycopg.connect(**options.connect, autocommit=True)
        self._pg = self._psycopg.pgconn
        self._poll = select.poll()
        self._fd = self._pg.socket
        try:
            with reported_connect(options):
                self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        self.pooled = self._is_pooled()
        """A pooler between gives each transaction another session: settings belong to transactions, and nobody can
        listen."""
        prepare = self._options.prepare
        self._prepares = not self.pooled if prepare is None else prepare
        """In the session of another program, a name may stand for another statement."""
        self.settings = {
            "search_path": self._options.quoted_schema,
            "lock_timeout": str(self._options.timeout_ms),
            "statement_timeout": str(self._options.timeout_ms),
            "idle_in_transaction_session_timeout": str(max(self._options.timeout_ms, IDLE_MS)),
            **SETTINGS,
        }
        if not self.pooled:
            said = ", ".join(f"set_config('{name}', %s, false)" for name in self.settings)
            self._psycopg.execute(f"SELECT {said}", list(self.settings.values()))
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()

    def _is_pooled(self) -> bool:
        """Whether the session is another one than that which was connected to."""
        return self._psycopg.execute("SELECT pg_backend_pid()").fetchone() != (self._pg.backend_pid,)

    # -- talking --------------------------------------------------------------------------------

    def exchange(self, statements: Iterable[Statement], timeout_s: float | None = None) -> list[Answer]:
        """Send the statements, and return what they answer. Where one is refused, those behind it are not done."""
        try:
            sent = self._send(statements)
            self._answer_by = time.monotonic() + (timeout_s or self._options.timeout_ms / 1000 + MARGIN_S)
            return self._receive(sent)
        except psycopg.Error as problem:
            refused = self._last_word()
            self.close()
            raise (refused or lost(self._options, str(problem))) from problem
        except (Refused, StoreUnavailable):
            raise
        except BaseException:  # interrupted: what comes next would be the answer to this
            self.close()
            raise

    def answer(self, sql: str, *values: Any) -> Answer:
        """What a statement answers. Raises StoreUnavailable also where it is refused."""
        try:
            return self.exchange([(sql, values)])[0]
        except Refused as refused:
            if refused.ends:
                self.close()
            raise unavailable(self._options, refused) from refused

    def post(self, sql: str, *values: Any) -> None:
        """Send a statement, and do not wait."""
        with suppress(psycopg.Error):
            self._posted.append(sql)
            self._send([(sql, values)])
            self._pg.flush()

    def _send(self, statements: Iterable[Statement]) -> list[str]:
        """The statements as they were sent, '' for what only prepares one."""
        sent: list[str] = []
        for sql, values in statements:
            name = self._names.get(sql)
            params = encoded(values)
            if name is None and (not self._prepares or self._prepared >= PREPARED_MOST):
                self._pg.send_query_params(sql.encode(), params)
                sent.append(sql)
                continue
            if name is None:
                self._prepared += 1
                name = self._names[sql] = b"s%d" % self._prepared
                self._pg.send_prepare(name, sql.encode())
                sent.append("")
            self._pg.send_query_prepared(name, params)
            sent.append(sql)
        self._pg.pipeline_sync()
        self._owed += 1
        return sent

    def _receive(self, sent: list[str]) -> list[Answer]:
        answers: list[Answer] = []
        refused: Refused | None = None
        place = 0
        while self._owed:
            result = self._next()
            if result is None:
                continue
            status = result.status
            if status == pq.ExecStatus.PIPELINE_SYNC:
                self._owed -= 1
            elif self._owed > 1:  # of what was posted
                if status not in _GOOD:
                    self._forget(self._posted)
            elif status in _GOOD:
                if sql := sent[place]:
                    answers.append(self._answer(sql, result))
                place += 1
            elif status != pq.ExecStatus.PIPELINE_ABORTED and refused is None:
                refused = self._refused(result, sent[place:])
        self._posted.clear()
        self.used_at = time.monotonic()
        if refused is not None:
            raise refused
        return answers

    def _refused(self, result: pq.abc.PGresult, sent: list[str]) -> Refused:
        """The first of these is refused. When none is left, or at any time, the server may say that it ends the
        connection: then nothing else will come."""
        refused = Refused(result, sent[0] if sent else "")
        if refused.is_fatal:
            self.close()
            raise refused
        self._forget([sql for before, sql in pairwise(sent) if not before])
        if refused.code[:2] not in OF_VALUES:
            self._forget(sent[:1])
        return refused

    def _last_word(self) -> Refused | None:
        """Why the server has ended the connection, if it had said so before so much was sent that this failed."""
        if self._pg.status != pq.ConnStatus.BAD or (result := self._pg.get_result()) is None:
            return None
        refused = Refused(result, "")
        return refused if refused.is_fatal else None

    def _forget(self, sent: list[str]) -> None:
        """Of these it is not known whether they were prepared."""
        for sql in sent:
            self._names.pop(sql, None)

    def _next(self) -> pq.abc.PGresult | None:
        pg = self._pg
        while pg.is_busy():
            wanted = select.POLLIN | (select.POLLOUT if pg.flush() else 0)
            now = time.monotonic()
            left = max(self._answer_by - now, 0)  # what came while this process was stopped is in time
            self._poll.register(self._fd, wanted)
            if self._poll.poll(left * 1000):
                pg.consume_input()
            elif stood_still(time.monotonic() - now, left):
                self._answer_by = time.monotonic() + left
            else:
                self.close()
                raise lost(self._options, "it has not answered in time")
        result = pg.get_result()
        if result is None and pg.status == pq.ConnStatus.BAD:  # of what cannot be read, nothing more will come
            raise psycopg.OperationalError(pg.error_message.decode(errors="replace"))
        return result

    def _answer(self, sql: str, result: pq.abc.PGresult) -> Answer:
        count = result.ntuples
        if not count:
            return Answer([], result.command_tuples or 0)
        decoders = self._decoders.get(sql)
        if decoders is None or len(decoders) != result.nfields:
            decoders = self._decoders[sql] = tuple(decoder_of(result.ftype(at)) for at in range(result.nfields))
        get, columns = result.get_value, list(enumerate(decoders))
        rows = [
            tuple([None if (raw := get(row, at)) is None else decode(raw) for at, decode in columns])
            for row in range(count)
        ]
        return Answer(rows, result.command_tuples or 0)

    # -- its end --------------------------------------------------------------------------------

    @property
    def fd(self) -> int:
        return self._fd

    def is_alive(self) -> bool:
        """Whether the server has not ended it, as far as that is known here."""
        if self._psycopg.closed:
            return False
        self._poll.register(self._fd, select.POLLIN)
        with suppress(psycopg.Error):
            while self._poll.poll(0):  # answers that nobody waits for, what the server says at its end, or that end
                self._pg.consume_input()
            return self._pg.status == pq.ConnStatus.OK
        return False

    def notified(self, own: str) -> bool:
        """Whether a notification has arrived of others than those who say ``own``. Raises StoreUnavailable."""
        try:
            self._pg.consume_input()
            found = False
            while (one := self._pg.notifies()) is not None:
                found = found or one.extra.decode() != own
        except psycopg.Error as problem:
            self.close()
            raise lost(self._options, str(problem)) from problem
        return found

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._psycopg.close()

    @property
    def closed(self) -> bool:
        return self._psycopg.closed

    def abandon(self) -> None:
        """It is another process's: the server is told nothing."""
        forks.keep(self._psycopg)
        if self._fd >= 0:
            with suppress(OSError):
                forks.close_copy(socket.socket(fileno=self._fd))
