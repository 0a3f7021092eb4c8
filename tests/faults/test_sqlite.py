"""The SQLite store: processes that are killed, files that are locked, full, removed or cannot be written."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import create_app
from stratix_kombu.errors import ConfigurationError, StoreUnavailable
from stratix_kombu.model.record import Completion, NewJob
from stratix_kombu.stores.sqlite import SqliteStore, open_sqlite_store
from stratix_kombu.stores.sqlite.connection import Connection
from stratix_kombu.testing.forking import Child
from stratix_kombu.testing.stores import audit
from tests.waiting import until

LEASE_MS = 60_000
TIMEOUT_MS = 300
QUEUE = "mail"


def opened(folder: Path, **options: Any) -> SqliteStore:
    return open_sqlite_store({"url": f"sqlite:///{folder}/jobs.db", **options}, namespace="faults")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = opened(tmp_path, timeout=TIMEOUT_MS)
    yield store
    store.close()


def add(store: SqliteStore, *ids: str) -> None:
    store.transitions.add([NewJob(id=one, queue=QUEUE, name="n") for one in ids])


# -- killed ---------------------------------------------------------------------------------------


def work_until_killed(folder: Path, name: str, statements: int) -> None:
    """Add, take, complete and fail, and die by SIGKILL at that statement, wherever it is."""
    left = statements
    run, many = Connection.run, Connection.many

    def reached() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted_run(self: Connection, sql: str, *values: Any) -> int:
        reached()
        return run(self, sql, *values)

    def counted_many(self: Connection, sql: str, rows: Any) -> None:
        reached()
        many(self, sql, rows)

    Connection.run, Connection.many = counted_run, counted_many  # type: ignore[method-assign]
    store = opened(folder, synchronous="off")
    for turn in range(1_000):
        first, second = f"{name}-{turn}-a", f"{name}-{turn}-b"
        add(store, first)
        store.transitions.add([NewJob(id=second, queue=QUEUE, name="n", dependencies=(first,))])
        claims = store.transitions.take(QUEUE, name, LEASE_MS, 3, request=f"{name}-{turn}").claims
        store.transitions.complete([Completion(one.record.id, one.token, "1") for one in claims[1:]])
        store.transitions.hand_back([])
        store.transitions.promote()


def killed_one(folder: Path, name: str, statements: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work_until_killed(folder, name, statements)
        finally:
            os._exit(1)
    return pid


@pytest.mark.parametrize("first", range(1, 41, 8))
def test_processes_killed_at_any_statement_leave_whole_steps(tmp_path: Path, first: int) -> None:
    """Four at a time, each at another statement, and on one file."""
    for statements in (first, first + 4):
        names = {f"p{statements + n}": statements + n for n in range(4)}
        pids = [killed_one(tmp_path, name, nth) for name, nth in names.items()]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        assert codes == [-signal.SIGKILL] * 4
    store = opened(tmp_path)
    try:
        assert audit(store) == []
        while store.transitions.release().more:
            pass
        assert audit(store) == []
        rest = store.transitions.take(QUEUE, "last", LEASE_MS, 1_000).claims
        assert not store.transitions.complete([Completion(one.record.id, one.token, "1") for one in rest]).stale
    finally:
        store.close()


# -- locked, full, removed, read-only -------------------------------------------------------------


def test_a_lock_that_is_held_for_too_long(store: SqliteStore, tmp_path: Path) -> None:
    add(store, "before")
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match=f"lock for longer than {TIMEOUT_MS} ms"):
        add(store, "meanwhile")
    assert [one is not None for one in store.queries.get(["before", "meanwhile"])] == [True, False]
    other.execute("ROLLBACK")
    other.close()
    add(store, "after")
    assert store.queries.status(QUEUE).counts["waiting"] == 2


def test_a_new_file_into_which_another_process_writes(tmp_path: Path) -> None:
    """As when two processes open it first at one time: to the one that would give it its write-ahead log SQLite says
    at once, and not after the timeout, that it is locked."""
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = opened(tmp_path, timeout=60_000)
    with ThreadPoolExecutor(1) as thread:
        adding = thread.submit(add, store, "one")
        assert not wait([adding], timeout=0.3).done
        other.execute("COMMIT")
        other.close()
        adding.result(timeout=60)
    assert store.queries.status(QUEUE).counts["waiting"] == 1
    store.close()


def test_a_new_file_that_stays_locked(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = opened(tmp_path, timeout=TIMEOUT_MS)
    with pytest.raises(StoreUnavailable, match=f"lock for longer than {TIMEOUT_MS} ms"):
        add(store, "one")
    other.execute("ROLLBACK")
    other.close()
    add(store, "one")
    store.close()


def test_a_thread_that_holds_the_store_for_too_long(store: SqliteStore) -> None:
    add(store, "before")
    held, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with store._database:
            held.set()
            ended.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        with pytest.raises(StoreUnavailable, match="another thread"):
            add(store, "meanwhile")
    finally:
        ended.set()
        thread.join()
    add(store, "after")


def test_a_full_disk(store: SqliteStore) -> None:
    """SQLite says the same of a bound on the pages of the file."""
    add(store, "before")
    with store._database as database:
        (pages,) = database.one("PRAGMA page_count") or (0,)
        database.all(f"PRAGMA max_page_count = {pages + 8}")
    jobs = [NewJob(id=f"j{number}", queue=QUEUE, name="n", data=f'"{"x" * 1_000}"') for number in range(1_000)]
    store.transitions.add(jobs[:2])
    with pytest.raises(StoreUnavailable, match="disk is full"):
        store.transitions.add(jobs)
    added = store.queries.status(QUEUE).counts["waiting"]
    assert audit(store) == []
    with store._database as database:
        database.all("PRAGMA max_page_count = 100000")
    add(store, "after")
    assert store.queries.status(QUEUE).counts["waiting"] == added + 1


def test_a_file_that_is_removed(store: SqliteStore, tmp_path: Path) -> None:
    """What would be written into it would be lost with it. It is said once; then there is a new one."""
    add(store, "before")
    store.queries.status(QUEUE)
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        add(store, "lost")
    add(store, "after")
    assert [one is not None for one in store.queries.get(["before", "lost", "after"])] == [False, False, True]


def test_a_file_that_cannot_be_written(store: SqliteStore) -> None:
    """The next step begins with a new connection, which sees that it can be written again."""
    add(store, "before")
    with store._database as database:
        database.all("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable, match="read-only"):
        add(store, "meanwhile")
    add(store, "after")
    assert [one is not None for one in store.queries.get(["before", "meanwhile", "after"])] == [True, False, True]


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_text("not a database, and long enough to be looked at" * 100)
    store = opened(tmp_path)
    with pytest.raises(ConfigurationError, match=r"jobs\.db is no database of SQLite: give it another path"):
        store.ping()
    assert (tmp_path / "jobs.db").read_text().startswith("not a database")


# -- processes ------------------------------------------------------------------------------------


def test_a_worker_takes_what_another_process_adds(tmp_path: Path) -> None:
    """And waits for it without a message: a change of the file is enough."""
    settings: Any = {"store": f"sqlite:///{tmp_path}/jobs.db"}
    with create_app(settings) as app:
        app.queue.create_queue(QUEUE).process(lambda job: os.getpid())
        app.start()

        def add_there() -> Any:
            with create_app(settings) as other:
                return other.queue.get_queue(QUEUE).add("n").wait_until_finished(timeout=20)

        assert Child(add_there).answer() == os.getpid()
        (job,) = app.queue.get_queue(QUEUE).get_jobs("completed")
        assert job.return_value == os.getpid()


def test_workers_go_on_when_the_lock_is_free_again(tmp_path: Path) -> None:
    settings: Any = {"store": f"sqlite:///{tmp_path}/jobs.db?timeout={TIMEOUT_MS}"}
    with create_app(settings) as app:
        queue = app.queue.create_queue(QUEUE)
        queue.process(lambda job: "done")
        app.start()
        assert queue.add("n").wait_until_finished(timeout=20) == "done"
        heard: list[BaseException] = []
        queue.on("error", heard.append)
        other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            queue.add("n")
        until(lambda: heard)
        other.execute("ROLLBACK")
        other.close()
        assert queue.add("n").wait_until_finished(timeout=20) == "done"
