"""The tests' own PostgreSQL server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from tests.faults.worker_processes import ROOT
from tests.postgres_server import UNSAFE, PostgresServer, database_of
from tests.processes import lives
from tests.waiting import until


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer(*UNSAFE)
    server.start()
    yield server
    server.remove()


def test_it_can_be_killed_stopped_frozen_and_goes_on_with_its_data(server: PostgresServer) -> None:
    server.execute("CREATE TABLE kept AS SELECT 7 AS number")
    server.restart()
    server.stop()
    server.start()
    server.freeze()
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        psycopg.connect(server.url, connect_timeout=2)
    server.thaw()
    assert server.execute("SELECT number, 'a' < 'B' FROM kept WHERE number = %s", 7) == [(7, server.has_order)]


STARTED = """
from tests.postgres_server import UNSAFE, PostgresServer
server = PostgresServer(*UNSAFE)
server.start()
print(server._process.pid, server.folder, flush=True)
input()
"""


def test_it_ends_with_a_run_that_is_killed() -> None:
    program = [sys.executable, "-c", STARTED]
    with subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid, folder = run.stdout.readline().split()
        assert lives(int(pid))
        run.kill()
    until(lambda: not lives(int(pid)), 30.0)
    shutil.rmtree(folder)


def test_a_database_of_ones_own_is_deleted_with_its_connections(postgres_url: str) -> None:
    with database_of(postgres_url) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE mine ()")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
