"""Programs of these tests: a project with one companion, its worker, and a script that uses both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_ready

from stratix_kombu.celery import install
from tests.celery.results import got
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 90
WAIT_S = 30
OWN = ("stratix.join",)
"""What the bridge adds, as the guide says: a task for each chord."""


# -- in the test ----------------------------------------------------------------------------------


def both(program: str, url: str, **given: Any) -> Any:
    """What a program answers, which must be the same with stock Celery and with the bridge."""
    with ThreadPoolExecutor(2) as pool:
        stock, bridge = pool.map(lambda bridge: answer(program, url, bridge=bridge, **given), (False, True))
    assert bridge == stock, f"with stock Celery: {stock!r}; with the bridge: {bridge!r}"
    return bridge


def answer(program: str, url: str, **given: Any) -> Any:
    """What one run of the program answers."""
    with tempfile.TemporaryDirectory(prefix="stratix-companion-") as folder:
        heard = json.dumps({"url": url, "folder": folder, "prefix": f"p{uuid.uuid4().hex[:8]}", **given})
        process = subprocess.run(
            [sys.executable, "-m", f"tests.companions.{program}"],
            cwd=ROOT,
            env={**os.environ, "STRATIX_COMPANION": heard, "C_FORCE_ROOT": "1"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        file = Path(folder) / "answer"
        assert file.exists(), process.stdout + process.stderr
        return json.loads(file.read_text())


# -- in the program -------------------------------------------------------------------------------


class Given:
    """What the test said."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = json.loads(os.environ["STRATIX_COMPANION"])
        self.url: str = self.said["url"]
        self.bridge: bool = self.said["bridge"]
        self.prefix: str = self.said["prefix"]
        self.folder = Path(self.said["folder"])

    def app(self, **conf: Any) -> Celery:
        """The application, without the bridge as yet."""
        app = Celery("proj", broker=self.url, backend=self.url)
        app.conf.update(task_default_queue=f"{self.prefix}q", broker_connection_retry_on_startup=True, **conf)
        return app

    def install(self, app: Celery, **options: Any) -> None:
        """The bridge, if it is asked for."""
        if self.bridge:
            app.stratix = install(app, namespace=self.prefix, **options)

    def note(self, line: Any) -> None:
        """Keep something that a process of the worker has seen."""
        with (self.folder / "notes").open("a") as file:
            file.write(f"{json.dumps(line)}\n")

    def notes(self) -> list[Any]:
        with suppress(FileNotFoundError):
            whole = (self.folder / "notes").read_text().split("\n")[:-1]  # the last one may still be written
            return [json.loads(line) for line in whole]
        return []

    def run(self, app: Celery, script: Callable[[], Any], *arguments: str, pool: str = "threads") -> None:
        """Run a worker here and, once it takes messages, the script beside it; keep what that answers."""

        def act() -> None:
            try:
                text = json.dumps(script())
                (self.folder / "answer.part").write_text(text)
                (self.folder / "answer.part").rename(self.folder / "answer")
            except BaseException:
                traceback.print_exc()
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        worker_ready.connect(lambda **_: threading.Thread(target=act).start(), weak=False)
        app.worker_main(["worker", "-P", pool, "-c", "4", "-l", "WARNING", "-n", f"{self.prefix}@test", *arguments])


def wait(result: Any) -> Any:
    """The value of a result, or the name of the error it raises."""
    try:
        return got(result, WAIT_S, disable_sync_subtasks=False)
    except Exception as error:
        return type(error).__name__


__all__ = ["OWN", "WAIT_S", "Given", "answer", "both", "until", "wait"]
