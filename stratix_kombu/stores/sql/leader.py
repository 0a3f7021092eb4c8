"""The clock that leads, in a table."""

from __future__ import annotations

from typing import Any

from stratix_kombu.stores.sql.database import Database

_COLUMNS = ["clock", "until_ms", "yields", "rests_ms", "woken"]
READ = f"SELECT {', '.join(_COLUMNS)} FROM leader"


class SqlLeader:
    """Which clock it is, until when, and when it is to look again; see ``stores.memory.leader``."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._row: tuple[Any, ...] | None = None
        self._was: tuple[Any, ...] | None = None

    def forget(self) -> None:
        """It may be another one."""
        self._row = self._was = None

    def _read(self) -> tuple[Any, ...]:
        if self._row is None:
            self._row = self._was = self._db.one(READ)
        assert self._row is not None
        return self._row

    @property
    def until_ms(self) -> int:
        return self._read()[1]  # type: ignore[no-any-return]

    def is_led(self, clock: str, now: int) -> bool:
        leader, until_ms, yields, *_ = self._read()
        return leader not in ("", clock) and until_ms > now and not yields

    def take(self, clock: str, until_ms: int, rests_ms: int, yields: bool) -> None:
        self._read()
        self._row = (clock, until_ms, int(yields), rests_ms, 0)

    def wake(self, at_ms: int) -> None:
        clock, until_ms, yields, rests_ms, _ = self._read()
        if at_ms < rests_ms:
            self._row = (clock, until_ms, yields, at_ms, 1)

    def resign(self, clock: str) -> None:
        if self._read()[0] == clock:
            self._row = ("", self.until_ms, 0, 0, 0)

    def flush(self) -> None:
        if self._row != self._was:
            assert self._row is not None
            self._db.put(f"UPDATE leader SET {', '.join(f'{name} = ?' for name in _COLUMNS)}", *self._row)
            self._was = self._row
