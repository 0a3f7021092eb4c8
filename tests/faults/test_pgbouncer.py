"""PostgreSQL behind PgBouncer in transaction mode, where each transaction may have another session."""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stratix_kombu import StoreUnavailable, create_app
from tests.postgres_server import other_user
from tests.services import end, free_port, require, wait_for_port

WAIT_S = 30
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 100
logfile = {folder}/log
"""


@pytest.fixture(params=["?timeout=5000", "?prepare=off"])
def pooled(postgres_database: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a new database by way of PgBouncer."""
    where, port = psycopg.conninfo.conninfo_to_dict(postgres_database), free_port()
    with tempfile.TemporaryDirectory(prefix="stratix-pgbouncer-") as folder:
        user = other_user(folder)
        file = Path(folder, "pgbouncer.ini")
        said = {"server": where["port"], "user": where["user"], "port": port, "folder": folder}
        file.write_text(CONFIGURATION.format(**said))
        process = subprocess.Popen([require("pgbouncer"), str(file)], stderr=subprocess.DEVNULL, **user)
        try:
            wait_for_port(port, process)
            yield f"{postgres_database.replace(str(where['port']), str(port))}{request.param}"
        finally:
            end(process)


def test_jobs_run_and_that_nobody_listens_is_said_once(pooled: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with create_app({"store": f"{pooled}&migrate=auto"}) as app:
        queue: Any = app.queue.create_queue("mail", concurrency=4)
        queue.process("double", lambda job: 2 * job.data)
        app.start()
        jobs = queue.add_bulk([{"name": "double", "data": number} for number in range(40)])
        assert [job.wait_until_finished(timeout=WAIT_S) for job in jobs] == [2 * number for number in range(40)]
        later = queue.add("double", 4, delay=50, attempts=2)
        assert later.wait_until_finished(timeout=WAIT_S) == 8
        with psycopg.connect(pooled.partition("?")[0], prepare_threshold=None) as connection:
            mine = queue.add("double", 5, connection=connection)
            gone = queue.add("double", 6, connection=connection, job_id="gone")
            connection.rollback()
            mine = queue.add("double", 7, connection=connection)
            connection.commit()
        assert mine.wait_until_finished(timeout=WAIT_S) == 14
        assert queue.get_job(gone.id) is None
    said = [one.getMessage() for one in caplog.records if getattr(one, "action", "") == "polling"]
    assert len(said) == 1
    assert "behind a pooler" in said[0]


def test_a_handler_completes_its_job_in_a_transaction_of_its_own(pooled: str) -> None:
    with create_app({"store": f"{pooled}&migrate=auto"}) as app:
        queue: Any = app.queue.create_queue("mail")

        @queue.process("charge")
        def charge(job: Any) -> str:
            with psycopg.connect(pooled.partition("?")[0], prepare_threshold=None) as connection:
                job.complete_in(connection, "undone")
                connection.rollback()
                job.complete_in(connection, "charged")
            return "ignored"

        app.start()
        jobs = [queue.add("charge") for _ in range(3)]
        assert [job.wait_until_finished(timeout=WAIT_S) for job in jobs] == ["charged"] * 3


def test_statements_are_prepared_only_where_that_is_said(pooled: str) -> None:
    """One program's statements are not known in the sessions of another, or are others there."""

    def run(url: str) -> None:
        with create_app({"store": f"{url}&migrate=auto"}) as first, create_app({"store": url}) as second:
            for number in range(20):
                for app in (first, second):
                    job = app.queue.get_queue("mail").add("n", number)
                    assert job.refresh().data == number

    run(pooled)
    with pytest.raises(StoreUnavailable, match="a pooler between keeps no prepared statements: leave out 'prepare=on'"):
        run(f"{pooled.partition('?')[0]}?prepare=on")
