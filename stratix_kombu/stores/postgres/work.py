"""Waiting for jobs, also for those that users' transactions have added."""

from __future__ import annotations

from stratix_kombu.stores.sql.work import SqlWork

_ARRIVED = ""
"""No queue is called so."""


class PostgresWork(SqlWork):
    with_work = f"{SqlWork.with_work} UNION ALL SELECT '{_ARRIVED}', 1 WHERE EXISTS (SELECT 1 FROM incoming)"

    def _look(self, seen: int) -> dict[str, int]:
        found = super()._look(seen)
        if _ARRIVED in found:
            with self._space.lock:  # the step takes them in
                pass
            found = super()._look(self._space.changes())
        return found
