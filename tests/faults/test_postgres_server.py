"""The tests' own PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.postgres_server import UNSAFE, PostgresServer, database_of


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
    assert server.execute("SELECT number, 'a' < 'B' FROM kept WHERE number = %s", 7) == [(7, True)]


def test_a_database_of_ones_own_is_deleted_with_its_connections(postgres_url: str) -> None:
    with database_of(postgres_url) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE mine ()")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
