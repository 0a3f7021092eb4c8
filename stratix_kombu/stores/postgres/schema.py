"""Making the tables of a namespace, for the command line."""

from __future__ import annotations

from stratix_kombu.stores.contract import Migrations
from stratix_kombu.stores.postgres.errors import reported_connect
from stratix_kombu.stores.postgres.migrate import SCRIPTS, check_owner, connected, migrate, owned, script, version_of
from stratix_kombu.stores.postgres.options import PostgresOptions


class PostgresMigrations(Migrations):
    def __init__(self, options: PostgresOptions) -> None:
        self._options = options

    def pending(self) -> list[str]:
        return [file.stem for file in SCRIPTS[self._version() :]]

    def script(self, after: int | None = None) -> str:
        after = self._version() if after is None else after
        return f"{script(self._options.schema, after)}\n{owned(self._options)}" if after < len(SCRIPTS) else ""

    def migrate(self) -> tuple[int, int]:
        with connected(self._options) as connection, reported_connect(self._options):
            versions = migrate(connection, self._options.schema)
            connection.execute(owned(self._options).encode())
            return versions

    def _version(self) -> int:
        with connected(self._options) as connection, reported_connect(self._options):
            check_owner(connection, self._options)
            return version_of(connection, self._options.schema)
