"""Waiting for jobs, also for what users' transactions have added and completed."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from stratix_kombu.stores.postgres.session import SOME_CAME
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sql.work import SqlWork

_ARRIVED = ""
"""No queue is called so."""
_WITH_WORK = f"""
SELECT found.name, greatest(found.in_order, 1) FROM json_array_elements_text(CAST(? AS json)) AS wanted (name),
LATERAL (
  SELECT name, in_order, aside FROM queues WHERE queues.name = wanted.name ORDER BY era DESC LIMIT 1
) AS found
WHERE found.in_order > 0 OR (
  found.aside > 0 AND EXISTS (SELECT 1 FROM lines WHERE queue = found.name AND unsent = 0 AND opens_ms <= ?)
)
UNION ALL SELECT '{_ARRIVED}', 1 WHERE {SOME_CAME}
"""


class PostgresWork(SqlWork):
    def _look(self, seen: int, queues: Sequence[str]) -> dict[str, int]:
        found = super()._look(seen, queues)
        if _ARRIVED in found:
            with self._space.lock:  # the step takes them in
                pass
            found = super()._look(self._space.changes(), queues)
        return found

    def _with_work(self, db: Database, now: int, names: Collection[str]) -> dict[str, int]:
        """By name: so the versions of rows are passed over that a held snapshot keeps."""
        return dict(db.all(_WITH_WORK, json.dumps([*names]), now))
