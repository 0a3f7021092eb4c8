"""PostgreSQL servers of one's own: on a free loopback port, in a folder of its own, run by another user than root."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from tests.installation import POSTGRES
from tests.processes import children_of, lives
from tests.services import free_port, require, wait_until_ready
from tests.waiting import WAIT_S, until

if TYPE_CHECKING:
    from typing_extensions import LiteralString  # of 3.11's typing

UNSAFE = ("fsync=off", "full_page_writes=off")
"""For what need not outlive a power cut, but may be killed."""
USER = "owner"
WITH_ITS_PARENT = ("setpriv", "--pdeathsig", "QUIT")
"""It ends when the thread that has started it does, however that ends."""
ORDER = ("--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
"""As databases of users sort: "a" is before "B", as it is not in Python."""
ORDERED_SINCE = 15
"""The first version whose databases can be told so."""


def programs() -> Path:
    """The folder with ``initdb`` and ``postgres``; those of Debian are not on the PATH."""
    if named := os.environ.get("STRATIX_TEST_POSTGRES_BIN"):
        return Path(named).resolve()
    found = shutil.which("initdb")
    if found is None:
        require(POSTGRES)
        versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
        found = str(max(versions, key=lambda path: float(path.parts[-3])))
    return Path(found).resolve().parent


def version_of(folder: Path) -> int:
    """The major version of the programs there."""
    said = subprocess.run([str(folder / "postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"\d+", said)[0])


class PostgresServer:
    """May be killed, frozen and started again with its data, on the same port. ``settings`` are those of
    postgresql.conf, as ``name=value``."""

    def __init__(self, *settings: str, order: tuple[str, ...] = ORDER) -> None:
        self.port = free_port()
        self.url = f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"
        self.folder = tempfile.mkdtemp(prefix="stratix-postgres-")
        self._programs = programs()
        self._settings = settings
        self._user = other_user(self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._make(order)

    def _make(self, order: tuple[str, ...]) -> None:
        self.has_order = version_of(self._programs) >= ORDERED_SINCE
        """Whether databases sort as those of users do."""
        order = order if self.has_order else order[:1]
        made = self._run("initdb", "-D", f"{self.folder}/data", "-U", USER, "-A", "trust", "-E", "UTF8", "-N", *order)
        assert not made.wait(), "initdb failed"

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*WITH_ITS_PARENT, str(self._programs / program), *arguments],
            cwd=self.folder,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._user,
        )

    def standby(self) -> PostgresServer:
        """Another server that follows this one, which was not started yet."""
        return Standby(self)

    def configure(self, *settings: str) -> None:
        """More settings, from the next start on."""
        self._settings += settings

    def keep_file(self, path: str, text: str) -> None:
        """Write a file, by its path in the server's folder, that only the server may read."""
        file = Path(self.folder, path)
        file.write_text(text)
        file.chmod(0o600)
        if self._user:
            shutil.chown(file, self._user["user"], self._user["group"])

    def start(self) -> None:
        """Returns when it answers."""
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200", *self._settings]
        options = [part for one in settings for part in ("-c", one)]
        process = self._run("postgres", "-D", f"{self.folder}/data", "-p", str(self.port), *options)
        self._process = process
        wait_until_ready(self._answers, process)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=10).close()
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, sql: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        """What one statement answers, run by a superuser."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(sql, values)
            return found.fetchall() if found.description else []

    def stop(self) -> None:
        """As an operator stops it: transactions that are under way are rolled back."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """As a power cut ends it, but for what the kernel has of its files."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)  # it has no more children than are found
        killed = self._signal(signal.SIGKILL)
        self._process.wait()
        until(lambda: not any(map(lives, killed)), WAIT_S)  # while one holds its memory it does not start again

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> list[int]:
        """To its parent process and to the processes of its connections, which are no group; returns their numbers."""
        assert self._process is not None
        mine = [self._process.pid, *children_of(self._process.pid)]
        for pid in mine:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return mine

    def remove(self) -> None:
        """End it, and delete its data."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Standby(PostgresServer):
    """Made from the files of its primary."""

    def __init__(self, primary: PostgresServer) -> None:
        self._primary = primary
        where = f"primary_conninfo=host=127.0.0.1 port={primary.port} user={USER} application_name=standby"
        super().__init__(*primary._settings, where)

    def _make(self, order: tuple[str, ...]) -> None:
        self.has_order = self._primary.has_order
        subprocess.run(["cp", "-a", f"{self._primary.folder}/data", self.folder], check=True)
        self.keep_file("data/standby.signal", "")


def other_user(folder: str) -> dict[str, Any]:
    """For ``subprocess``: who runs it where this process is root's, as which it refuses to run; the folder is that
    user's from now on."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            group = pwd.getpwnam(name).pw_gid
            shutil.chown(folder, name, group)
            return {"user": name, "group": group, "extra_groups": []}
    raise LookupError("PostgreSQL does not run as root, and there is no user postgres")


@contextmanager
def postgres_server(*settings: str) -> Iterator[str]:
    """A server, by default one that is fast and not safe; its URL, as that of a superuser."""
    if url := os.environ.get("STRATIX_TEST_POSTGRES_URL"):
        yield url
        return
    server = PostgresServer(*(settings or UNSAFE))
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


@contextmanager
def database_of(url: str) -> Iterator[str]:
    """A new database of that server, which is deleted afterwards, whoever is connected to it; its URL."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        try:
            yield f"{url.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]
