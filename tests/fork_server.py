"""Programs of ``python -m`` that need not import Celery first: a process that has done so forks them.

That import was a tenth of what the tests computed, in some 350 workers of Celery. A program that is started here has a
session, an environment, a log and an end of its own, as one that ``subprocess.Popen`` starts; only the command line
that ``ps`` shows is the server's."""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
LOG = os.O_WRONLY | os.O_APPEND
IMPORTED = (
    "celery.__main__",
    "celery.app.control",
    "celery.app.trace",
    "celery.apps.worker",
    "celery.backends.redis",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.concurrency.solo",
    "celery.concurrency.thread",
    "celery.events.state",
    "celery.worker.autoscale",
    "celery.worker.consumer",
    "celery.worker.strategy",
    "kombu.transport.pyamqp",
    "kombu.transport.redis",
    "stratix_kombu.celery.install",
    "stratix_kombu.celery.program",
    "stratix_kombu.cli",
)
"""What no program of these tests minds; their own modules are imported by themselves."""
READ_LATER = ("C_FORCE_ROOT", "CELERY_SKIP_CHECKS", "PYTEST_", "STRATIX_TEST_")
"""How variables of the environment begin that none of those reads while it is imported."""


def start(
    arguments: list[str], environment: dict[str, str], log: Path, is_forked: bool = True
) -> Program | subprocess.Popen[bytes]:
    """``python -m`` with these arguments, its outputs in the log. ``is_forked``: False where it is to import everything
    itself, as it also does if one of its variables might matter then."""
    if is_forked and _server.has(environment):
        return Program(arguments, environment, log)
    with log.open("wb") as output:
        command = [sys.executable, "-m", *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )


class Program:
    """A process, with what ``subprocess.Popen`` has of it."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.returncode: int | None = None
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(_server.address())
        order = {"arguments": arguments, "environment": environment, "log": str(log)}
        self._socket.sendall(json.dumps(order).encode() + b"\n")
        self._told = self._socket.makefile("rb")
        self.pid = int(self._told.readline())

    def poll(self) -> int | None:
        """Its status if it has ended, which frees its id; as of ``subprocess.Popen``."""
        return self._end(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises ``subprocess.TimeoutExpired``."""
        status = self._end(timeout)
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return status

    def _end(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._socket, selectors.EVENT_READ)
                if selector.select(timeout):
                    self.returncode = int(self._told.readline())
                    self._told.close()
                    self._socket.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class _Server:
    """The process that forks, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._address = ""
        self.environment = _read_early(os.environ)

    def has(self, environment: Mapping[str, str]) -> bool:
        """Whether what it has imported has read the same."""
        return _read_early(environment) == self.environment

    def address(self) -> str:
        with self._lock:
            if not self._address:
                address = f"\0stratix-tests-{uuid.uuid4().hex}"
                with socket.socket(socket.AF_UNIX) as listener:
                    listener.bind(address)
                    listener.listen(64)
                    number = listener.fileno()
                    command = [sys.executable, "-m", "tests.fork_server", str(number)]
                    process = subprocess.Popen(
                        command,
                        cwd=ROOT,
                        env=self.environment,
                        stdin=subprocess.PIPE,
                        pass_fds=[number],
                        start_new_session=True,
                    )
                atexit.register(process.communicate)  # it ends with its input
                self._address = address
            return self._address


def _read_early(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(READ_LATER)}


_server = _Server()


# -- in the server ------------------------------------------------------------------------------------


def _serve(listener: socket.socket) -> list[str]:
    """Returns in each program, with its arguments; in the server with none, at the end of its input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while sys.stdin not in select.select([sys.stdin, listener], [], [])[0]:
        asked, _ = listener.accept()
        with asked:
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                order = json.loads(asked.makefile().readline())
                program = os.fork()
                if program == 0:
                    asked.close()
                    _become(order)
                    return list(order["arguments"])
                _keep(program, asked)
    return []


def _keep(program: int, asked: socket.socket) -> NoReturn:
    """Tell who has asked for the program how it ends. Until that is read its id is not given to another process."""
    asked.sendall(b"%d\n" % program)
    end = os.waitid(os.P_PID, program, os.WEXITED | os.WNOWAIT)
    assert end is not None
    with suppress(BrokenPipeError):
        asked.sendall(b"%d\n" % (end.si_status if end.si_code == os.CLD_EXITED else -end.si_status))
    asked.recv(1)  # nothing comes; it is closed
    os._exit(0)


def _become(order: dict[str, Any]) -> None:
    """Be as a process that was started for this."""
    os.setsid()
    for file, numbers in ((os.open(os.devnull, os.O_RDONLY), (0,)), (os.open(order["log"], LOG), (1, 2))):
        for number in numbers:
            os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    sys.orig_argv[:] = [sys.executable, "-m", *order["arguments"]]


if __name__ == "__main__":
    for name in IMPORTED:
        import_module(name)
    gc.collect()
    gc.freeze()  # no program goes through what it shares with this process
    arguments = _serve(socket.socket(fileno=int(sys.argv[1])))
    if arguments:
        sys.argv[:] = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
