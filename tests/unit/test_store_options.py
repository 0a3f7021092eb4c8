"""How the SQLite store is named, what its options are, and what it refuses."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import create_app
from stratix_kombu.config.settings import load_settings
from stratix_kombu.drivers.registry import known_drivers
from stratix_kombu.errors import ConfigurationError, StoreUnavailable
from stratix_kombu.stores.registry import open_store
from stratix_kombu.stores.sqlite import open_sqlite_store
from stratix_kombu.stores.sqlite.migrate import VERSION
from stratix_kombu.stores.sqlite.options import file_system, read_options


def test_the_file_is_relative_or_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_options({"url": "sqlite:///jobs.db"}).path == f"{tmp_path}/jobs.db"
    assert read_options({"url": f"sqlite:///{tmp_path}/a%20b.db"}).path == f"{tmp_path}/a b.db"


def test_options_are_in_the_url_or_beside_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    usual = read_options({"url": url})
    assert (usual.synchronous, usual.timeout_ms) == ("full", 5_000)
    said = read_options({"url": f"{url}?synchronous=NORMAL&timeout=250"})
    assert (said.synchronous, said.timeout_ms, said.address) == ("normal", 250, url)
    assert read_options({"url": url, "synchronous": "off"}).synchronous == "off"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite:///{}/jobs.db?synchronus=full", "unknown option 'synchronus' of the SQLite store.*'synchronous'"),
        ("sqlite:///{}/jobs.db?synchronous=nromal", "must be full, normal or off.*'normal'"),
        ("sqlite:///{}/jobs.db?timeout=soon", "timeout"),
        ("sqlite://{}", "names no file|no folder"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://host/jobs.db", "names no file"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///{}/none/jobs.db", "no folder"),
    ],
)
def test_what_is_refused(url: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        open_store(url.format(tmp_path), namespace="n")


@pytest.mark.parametrize("table", ["jobs (number INTEGER)", "schema_version (installed_rank INTEGER)"])
def test_tables_of_another_program_are_refused(table: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as other:
        other.execute(f"CREATE TABLE {table}")
        other.commit()
        store = open_store(f"sqlite:///{tmp_path}/jobs.db", namespace="n")
        with pytest.raises(
            ConfigurationError, match=r"tables of another program .*: give the jobs a file of their own"
        ):
            store.ping()
        assert other.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)


def test_an_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(ConfigurationError, match=r"SQLite 3\.35 or newer"):
        read_options({"url": f"sqlite:///{tmp_path}/jobs.db"})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder: name a file in it"):
        read_options({"url": f"sqlite:///{tmp_path}"})


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "40 22 0:40 / /mnt/a\\040share rw shared:2 - nfs4 server:/jobs rw\n"
    )
    assert file_system("/srv", str(mounts)) == "ext4"
    assert file_system("/mnt/a share/jobs", str(mounts)) == "nfs4"
    assert file_system("/mnt/a shared", str(mounts)) == "ext4"
    assert file_system("/srv", str(tmp_path / "none")) == ""
    monkeypatch.setattr("stratix_kombu.stores.sqlite.options.file_system", lambda folder: "nfs4")
    with pytest.raises(ConfigurationError, match="network file system"):
        read_options({"url": f"sqlite:///{tmp_path}/jobs.db"})


def test_a_file_has_one_namespace(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    first, other = (open_sqlite_store({"url": url}, namespace=name) for name in ("first", "other"))
    first.ping()
    with pytest.raises(ConfigurationError, match="holds the namespace 'first'"):
        other.ping()
    first.close()


@pytest.mark.parametrize(("ahead", "works"), [(0, True), (1, True), (2, False)])
def test_neighbouring_versions_run_side_by_side(ahead: int, works: bool, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    store = open_sqlite_store({"url": url}, namespace="n")
    store.ping()
    store.close()
    with sqlite3.connect(tmp_path / "jobs.db") as newer:
        for version in range(VERSION + 1, VERSION + ahead + 1):
            newer.execute("INSERT INTO schema_version (version, applied_at) VALUES (?, 'now')", (version,))
    newer.close()
    if works:
        store.ping()
    else:
        with pytest.raises(ConfigurationError, match="written by a newer release"):
            store.ping()
    store.close()


def test_a_script_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0001.sql").write_text("CREATE TABLE counters (one INTEGER);\nCREATE TABLE counters (two INTEGER);\n")
    monkeypatch.setattr("stratix_kombu.stores.sqlite.migrate.SCRIPTS", [tmp_path / "0001.sql"])
    store = open_sqlite_store({"url": f"sqlite:///{tmp_path}/jobs.db"}, namespace="n")
    with pytest.raises(StoreUnavailable, match="already exists"):
        store.ping()
    monkeypatch.undo()
    store.ping()
    store.close()


def test_what_is_dangerous_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_sqlite_store({"url": f"sqlite:///{tmp_path}/jobs.db"}, namespace="n")
    assert store.survey().warnings == ()
    monkeypatch.setattr("stratix_kombu.stores.sqlite.FEW_BYTES", 2**62)
    monkeypatch.setattr("stratix_kombu.stores.sqlite.LONG_BYTES", 0)
    disk, log = store.survey().warnings
    assert "MB left" in disk
    assert "jobs.db-wal has" in log
    store.close()
    monkeypatch.undo()
    other = open_sqlite_store({"url": f"sqlite:///{tmp_path}/jobs.db?synchronous=off"}, namespace="n")
    assert other.survey().warnings == ("synchronous is off: a power cut may spoil the file",)
    other.close()


def _settings(**given: Any) -> Any:
    return load_settings(given, environment={}, drivers=known_drivers())


@pytest.mark.parametrize(
    "given",
    [
        {"store": "sqlite:///jobs.db"},
        {"driver": "sqlite:///jobs.db"},
        {"driver": "sqlite", "store": "sqlite:///jobs.db"},
        {"driver": "sqlite:///jobs.db", "store": "sqlite:///jobs.db"},
    ],
)
def test_it_is_named_once(given: dict[str, Any]) -> None:
    settings = _settings(**given)
    assert (settings.driver, settings.store, settings.is_memory_by_default) == ("sqlite", "sqlite:///jobs.db", False)


def test_its_options_may_be_a_section() -> None:
    section = {"url": "sqlite:///jobs.db", "synchronous": "normal"}
    assert _settings(sqlite=section).store == section
    assert _settings(store=section).driver == "sqlite"


def test_another_driver_may_be_beside_it(tmp_path: Path) -> None:
    settings = _settings(driver="memory", store="sqlite:///jobs.db")
    assert (settings.driver, settings.store) == ("memory", "sqlite:///jobs.db")
    with create_app({"driver": "memory", "store": f"sqlite:///{tmp_path}/jobs.db"}) as app:
        app.queue.create_queue("mail").process(lambda job: job.data)
        app.start()
        assert app.queue.get_queue("mail").add("n", 5).wait_until_finished(timeout=20) == 5


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"driver": "sqlite"}, "needs to know its file"),
        ({"driver": "sqlite:///a.db", "store": "sqlite:///b.db"}, "name two stores"),
        ({"driver": "sqlite:///a.db", "store": "redis://host"}, "name two stores"),
    ],
)
def test_what_is_no_pair(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        _settings(**given)


def test_a_store_that_needs_a_broker_is_no_driver() -> None:
    with pytest.raises(ConfigurationError, match="needs a driver beside it"):
        create_app({"driver": "sqlite", "store": "memory://"}).queue  # noqa: B018


@pytest.mark.parametrize(
    "store",
    [
        "redis://localhost:6379/2",
        "rediss://cache.example.com:6379/0",
        "sentinel://one:26379;two:26379/0?master_name=main",
        "unix:///run/redis.sock?db=0",
        "redis+cluster://a:7000,b:7001",
        {"host": "localhost", "db": 3},
        {"url": "redis://localhost:6379/2"},
    ],
)
def test_a_redis_that_is_only_named_as_the_store_is_the_broker_too(store: Any) -> None:
    settings = _settings(store=store)
    assert (settings.driver, settings.store, settings.is_memory_by_default) == ("redis", store, False)
    assert settings.driver_options == (store if isinstance(store, dict) else {"url": store})
    assert _settings(driver="memory", store=store).driver == "memory"
