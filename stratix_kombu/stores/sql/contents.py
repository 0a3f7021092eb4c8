"""Jobs as they are, for copying them: over tables."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.stores.contract.contents import KeptJob
from stratix_kombu.stores.memory.contents import MemoryContents
from stratix_kombu.stores.memory.state import Job
from stratix_kombu.stores.memory.steps import step
from stratix_kombu.stores.sql.space import SqlSpace


class SqlContents(MemoryContents):
    """Lines of logs are in a table of their own."""

    space: SqlSpace

    def _is_tied(self, job: Job) -> bool:
        return self.space.db.one("SELECT 1 FROM edges WHERE dependent = ? LIMIT 1", job.new.id) is not None

    def _lines(self, job: Job) -> list[str]:
        sql = "SELECT line FROM logs WHERE number = ? ORDER BY place"
        return [line for (line,) in self.space.db.all(sql, job.number)]

    @step
    def read(self, ids: Sequence[str]) -> list[KeptJob]:
        self.space.jobs.look_ahead(ids)
        return super().read(ids)

    def _write(self, kept: KeptJob) -> None:
        super()._write(kept)
        first = kept.logged - len(kept.logs) + 1
        rows = [(kept.number, place, line) for place, line in enumerate(kept.logs, first)]
        if rows:
            self.space.db.many("INSERT INTO logs (number, place, line) VALUES (?, ?, ?)", rows)
