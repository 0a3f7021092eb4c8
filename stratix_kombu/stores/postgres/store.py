"""The parts of the PostgreSQL store."""

from __future__ import annotations

from stratix_kombu.stores.contract import Mail, Store, Survey
from stratix_kombu.stores.postgres.again import make_again
from stratix_kombu.stores.postgres.database import PostgresDatabase
from stratix_kombu.stores.postgres.options import PostgresOptions
from stratix_kombu.stores.postgres.outbox import PostgresOutbox
from stratix_kombu.stores.postgres.schema import PostgresMigrations
from stratix_kombu.stores.postgres.survey import survey
from stratix_kombu.stores.postgres.transitions import PostgresTransitions
from stratix_kombu.stores.postgres.work import PostgresWork
from stratix_kombu.stores.sql.clocks import SqlClocks
from stratix_kombu.stores.sql.contents import SqlContents
from stratix_kombu.stores.sql.events import SqlEventLog
from stratix_kombu.stores.sql.locks import SqlLocks
from stratix_kombu.stores.sql.mail import SqlMail
from stratix_kombu.stores.sql.queries import SqlQueries
from stratix_kombu.stores.sql.schedules import SqlSchedules
from stratix_kombu.stores.sql.space import SqlSpace


class PostgresStore(Store):
    """All parts work on one ``SqlSpace``, whose time is that of the server."""

    serial = True
    mail: Mail

    def __init__(self, options: PostgresOptions) -> None:
        self.address = options.address
        self._database = PostgresDatabase(options)
        space = SqlSpace(self._database, self._database.clock)
        self._database.listener = space
        self.transitions = transitions = PostgresTransitions(space, self._database)
        self._database.take_in = transitions.take_in
        self.queries = SqlQueries(space)
        self.schedules = SqlSchedules(space, self.transitions)
        self.events = SqlEventLog(space)
        self.locks = SqlLocks(space)
        self.clocks = SqlClocks(space)
        self.contents = SqlContents(space)
        self.work = PostgresWork(space)
        self.mail = SqlMail(space)
        self.migrations = PostgresMigrations(options)
        self.outbox = PostgresOutbox(self._database)
        for part in (
            self.transitions,
            self.queries,
            self.schedules,
            self.events,
            self.locks,
            self.clocks,
            self.contents,
            self.mail,
        ):
            make_again(part, self._database)

    def ping(self) -> None:
        """Also, that the tables are there and can be written."""
        with self._database:
            pass

    def survey(self) -> Survey:
        self.ping()
        return survey(self._database)

    def close(self) -> None:
        self._database.close()
