"""What the server says of itself, and what of it endangers jobs or slows them down."""

from __future__ import annotations

from collections.abc import Iterator

from stratix_kombu.stores.contract import Survey
from stratix_kombu.stores.postgres.database import PostgresDatabase
from stratix_kombu.stores.postgres.options import PostgresOptions
from stratix_kombu.stores.sql.database import Database

OLD_S = 600
"""A transaction that has been open for longer is named."""
DEAD_PART = 0.2
MANY = 100_000
_SETTINGS = ("fsync", "autovacuum", "synchronous_commit")
_LEFT = (
    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int "
    "- (SELECT sum(numbackends) FROM pg_stat_database)"
)


def survey(database: PostgresDatabase) -> Survey:
    with database.reading() as db:
        ((version,),) = db.all("SHOW server_version")
        return Survey(server=f"PostgreSQL {version}", warnings=tuple(_warnings(db, database.options)))


def _warnings(db: Database, options: PostgresOptions) -> Iterator[str]:
    settings = {name: db.all(f"SHOW {name}")[0][0] for name in _SETTINGS}
    if settings["fsync"] == "off":
        yield "fsync is off: a power cut may lose jobs, or spoil the database"
    if settings["autovacuum"] == "off":
        yield "autovacuum is off: what was deleted is never cleared away, and everything becomes slower"
    if settings["synchronous_commit"] == "off":
        yield "synchronous_commit is off: what was added in the last moment before the server crashes may be lost"
    ((left,),) = db.all(_LEFT)
    if left < options.pool_size:
        yield (
            f"the server has room for {max(left, 0)} more connections (max_connections), and each process may need "
            f"{options.pool_size + 1} (pool_size)"
        )
    yield from _held(db)
    dead = "SELECT relname, n_dead_tup, n_live_tup FROM pg_stat_user_tables WHERE schemaname = ? AND n_dead_tup > ?"
    for table, dead_rows, live in db.all(dead, options.schema, MANY):
        if dead_rows > DEAD_PART * (dead_rows + live):
            yield f"the table {table!r} has {dead_rows:,} dead rows and {live:,} others: autovacuum does not keep up"


def _held(db: Database) -> Iterator[str]:
    """Who keeps dead rows from being cleared away."""
    old = (
        "SELECT pid, extract(epoch FROM now() - xact_start)::bigint FROM pg_stat_activity "
        "WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND now() - xact_start > make_interval(secs => ?) "
        "ORDER BY xact_start LIMIT 3"
    )
    for pid, seconds in db.all(old, OLD_S):
        yield (
            f"the transaction of process {pid} has been open for {seconds // 60} minutes: what was deleted since then "
            "cannot be cleared away"
        )
    prepared = (
        "SELECT gid, extract(epoch FROM now() - prepared)::bigint FROM pg_prepared_xacts "
        "WHERE database = current_database() AND now() - prepared > make_interval(secs => ?) ORDER BY prepared LIMIT 3"
    )
    for name, seconds in db.all(prepared, OLD_S):
        yield (
            f"the transaction {name!r} has been prepared for {seconds // 60} minutes: what was deleted since then "
            "cannot be cleared away, and a job that it completes waits for it: COMMIT PREPARED or ROLLBACK PREPARED"
        )
    for (slot,) in db.all("SELECT slot_name FROM pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL"):
        yield f"nobody uses the replication slot {slot!r}, for which the server keeps its log"
