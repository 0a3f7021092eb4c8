"""A whole project with habits of its own: what its program sees is the same with stock Celery, with the bridge in
``celery worker``, and in our own worker; and so is what its base class is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.celery.workers import ROOT
from tests.services import redis_server

APP = ["-A", "tests.celery.stranger.app", "worker", "-c", "4"]
WORKERS = {
    "stock": ["celery", *APP, "-P", "threads", "-l", "INFO"],
    "bridge": ["celery", *APP, "-P", "prefork", "-l", "INFO"],
    "own": ["stratix_kombu", *APP],
}


def outcome(kind: str, url: str, folder: Path) -> tuple[Any, list[str]]:
    """What the program has seen, and what its tasks have noted."""
    prefix, notes = f"s{uuid.uuid4().hex[:8]}", folder / f"notes of {kind}"
    notes.touch()
    environment = {**os.environ, "STRANGER_PREFIX": prefix, "STRANGER_BROKER": url, "STRANGER_RESULTS": url}
    environment |= {"C_FORCE_ROOT": "1", **({} if kind == "stock" else {"STRANGER_BRIDGE": "1"})}
    command = [sys.executable, "-m", *WORKERS[kind], "-Q", f"{prefix}.default,{prefix}.mail"]
    with (folder / f"log of {kind}").open("wb") as log:
        noting = {**environment, "STRANGER_NOTES": str(notes)}
        worker = subprocess.Popen(command, cwd=ROOT, env=noting, stdout=log, stderr=log)
        try:
            program = [sys.executable, "-m", "tests.celery.stranger.program"]
            done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
        finally:
            worker.terminate()
            try:
                worker.wait(60)
            finally:
                worker.kill()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), sorted(notes.read_text().splitlines())


@pytest.mark.timeout(300)
def test_a_project_with_habits_of_its_own(tmp_path: Path) -> None:
    """Each has a server of its own, since remote control reaches all workers of a server."""
    with ExitStack() as servers, ThreadPoolExecutor(len(WORKERS)) as threads:
        urls = [servers.enter_context(redis_server()) for _ in WORKERS]
        found = dict(zip(WORKERS, threads.map(outcome, WORKERS, urls, [tmp_path] * len(urls)), strict=True))
    seen, noted = found["stock"]
    for kind in ("bridge", "own"):
        assert found[kind][0] == seen, kind
        assert found[kind][1] == noted, kind
