"""Commands as processes, in a folder that holds an application."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import until

MODULE = """
import logging
import os
import time
from pathlib import Path

from stratix_kombu import create_app

logger = logging.getLogger("shop")
app = create_app("settings.toml")
emails = app.queue.create_queue("emails", concurrency=3)
reports = app.queue.create_queue("reports")
with Path("started").open("a") as file:
    file.write(f"{os.getpid()}\\n")


@emails.process("welcome")
def welcome(job):
    logger.info("sending to %s", job.data)
    job.update_progress(10)
    time.sleep(job.data if isinstance(job.data, float) else 0)
    return [os.getpid(), "first"]


reports.process(lambda job: None)
"""


def write_module(config: Path) -> Path:
    """The folder of the settings, with ``shop.py``."""
    (config.parent / "shop.py").write_text(MODULE, encoding="utf-8")
    return config.parent


class Process:
    """A command that runs; its output goes to files."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._out, self._err = folder / f"{arguments[0]}.out", folder / f"{arguments[0]}.err"
        command = [sys.executable, "-m", "stratix_kombu", *arguments]
        with self._out.open("w") as out, self._err.open("w") as err:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=out,
                stderr=err,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                # A shell that runs the tests in the background has them ignore SIGINT.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def says(self, words: str) -> None:
        """Wait until it has said that, on stdout or stderr."""
        until(lambda: words in self.out + self.err or self._process.poll() is not None, 60)
        assert words in self.out + self.err, self.out + self.err

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def ended(self, *numbers: signal.Signals) -> int:
        """Its exit code, after these signals."""
        for number in numbers:
            self.send(number)
        return self._process.wait(60)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Process]:
    process = Process(folder, *arguments)
    try:
        yield process
    finally:
        process.kill()


def started(folder: Path) -> list[int]:
    """Ids of the processes that have imported the application."""
    file = folder / "started"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc").exists() else True
