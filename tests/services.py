"""Real servers for tests and benchmarks, on free loopback ports, in folders of their own, ended by process id.

A server named in the environment (``STRATIX_TEST_REDIS_URL``, ``STRATIX_TEST_AMQP_URL``, ``STRATIX_TEST_SQS_URL``,
``STRATIX_TEST_POSTGRES_URL``) is used instead. Where one is missing it is installed, if that can be done (see
``tests.installation``); otherwise the tests that need it fail in CI and are skipped at home, visibly.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.installation import RABBITMQ, install

START_S = 90.0
PORTS = range(10_000, 32_000)
"""Below those that the system gives to connections, and to whoever asks for any."""
_ports = list[int]()
"""Those of this process."""


def free_port() -> int:
    """A port that no other test gets as long as this process lives, whether something listens on it or not."""
    lock = _lock_of_ports()
    while True:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.socket() as probe:
            if port not in _ports:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                probe.bind(("127.0.0.1", port))
                _ports.append(port)
                return port


@cache
def _lock_of_ports() -> int:
    """A file, of which each process locks the bytes of its ports."""
    return os.open(Path(tempfile.gettempdir(), f"stratix-ports-{os.getuid()}"), os.O_RDWR | os.O_CREAT, 0o600)


@contextmanager
def redis_server(*arguments: str) -> Iterator[str]:
    """A Redis server without persistence; its URL."""
    if url := os.environ.get("STRATIX_TEST_REDIS_URL"):
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="stratix-redis-") as folder:
        port = free_port()
        process = start_redis(folder, port, *arguments)
        try:
            wait_for_port(port, process)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            end(process)


def start_redis(folder: str, port: int, *arguments: str) -> subprocess.Popen[bytes]:
    """One Redis process in a folder of its own; does not wait until it listens."""
    binary = require("redis-server")
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
    return subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL)


@contextmanager
def rabbitmq_server() -> Iterator[str]:
    """A RabbitMQ node; its URL."""
    if url := os.environ.get("STRATIX_TEST_AMQP_URL"):
        yield url
        return
    with rabbitmq_node() as node:
        yield node.url


@dataclass(frozen=True)
class RabbitMQNode:
    """A node of one's own."""

    url: str
    environment: dict[str, str]

    def control(self, *arguments: str) -> str:
        """``rabbitmqctl``, and what it prints."""
        done = subprocess.run(
            ["/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def rabbitmq_node(configuration: str = "", advanced: str = "[].", ports: Sequence[int] = ()) -> Iterator[RabbitMQNode]:
    """A node with an epmd of its own; ``configuration`` and ``advanced`` are the texts of its files, ``ports`` those it
    listens on by them."""
    binary = require(RABBITMQ)
    port, epmd = free_port(), free_port()
    folder = tempfile.mkdtemp(prefix="stratix-rabbitmq-")
    environment = rabbitmq_environment(folder, port, epmd, configuration, advanced)
    process = subprocess.Popen(
        [binary],
        env=environment,
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for one in (port, *ports):
            wait_for_port(one, process)
        yield RabbitMQNode(f"amqp://guest:guest@127.0.0.1:{port}//", environment)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _end_epmd(epmd)
        shutil.rmtree(folder, ignore_errors=True)


def rabbitmq_environment(
    folder: str, port: int, epmd: int, configuration: str = "", advanced: str = "[]."
) -> dict[str, str]:
    """For a node with its data and its configuration in ``folder``; the same again for a restart."""
    Path(folder, "rabbitmq.conf").write_text(configuration)
    Path(folder, "advanced.config").write_text(advanced)
    return {
        **os.environ,
        "HOME": folder,
        "RABBITMQ_NODENAME": f"stratix{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
        "RABBITMQ_LOG_BASE": f"{folder}/log",
        "RABBITMQ_PID_FILE": f"{folder}/pid",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
        "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
        "ERL_EPMD_PORT": str(epmd),
    }


def _end_epmd(port: int) -> None:
    """It refuses while it believes that the node lives, which it does for a moment after that was killed."""
    command = ["epmd", "-port", str(port), "-kill"]
    deadline = time.monotonic() + 10
    while _listens(port) and time.monotonic() < deadline:
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        time.sleep(0.05)


@contextmanager
def sqs_server() -> Iterator[str]:
    """moto's SQS; its endpoint URL."""
    if url := os.environ.get("STRATIX_TEST_SQS_URL"):
        yield url
        return
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def require(program: str) -> str:
    """The path of a program that the tests need, installed if it is missing and that is possible."""
    problem = install([program])
    if problem:
        if "CI" in os.environ:
            pytest.fail(problem, pytrace=False)
        pytest.skip(problem)
    return shutil.which(program) or program


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once something listens; fails when the process ends or takes too long."""
    wait_until_ready(lambda: _listens(port), process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Terminate, and kill if that does not help."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_ready(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Return once the condition holds; fails when the process ends or takes too long."""
    deadline = time.monotonic() + START_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            name = Path(str(process.args[0] if isinstance(process.args, list) else process.args)).name
            raise RuntimeError(f"{name} did not start (exit code {process.poll()})")
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
