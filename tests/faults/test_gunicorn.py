"""gunicorn with ``--preload``: the program is imported once, with connections and threads, and then forked."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stratix_kombu import create_app
from tests.faults.worker_processes import ROOT
from tests.waiting import until

COUNT = 400


class Connection(http.client.HTTPConnection):
    """Over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


def ask(path: Path, job_id: str) -> Any:
    connection = Connection(path)
    connection.request("GET", f"/{job_id}")
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def test_workers_that_were_preloaded(redis_url: str, tmp_path: Path) -> None:
    settings = {"driver": "redis", "redis": {"url": redis_url}, "namespace": f"web{uuid.uuid4().hex[:8]}"}
    path = tmp_path / "web.sock"
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--preload",
        "--workers",
        "3",
        "--threads",
        "2",
        "--bind",
        f"unix:{path}",
        "--no-control-socket",
        "tests.faults.web:web",
    ]
    environment = {**os.environ, "STRATIX_TEST_WEB": json.dumps(settings)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        until(path.exists, 60)
        with ThreadPoolExecutor(6) as clients:
            answers = dict(clients.map(lambda number: (f"j{number}", ask(path, f"j{number}")), range(COUNT)))
        assert [job_id for job_id, (data, _) in answers.items() if data != job_id] == []
        assert len({pid for _, pid in answers.values()}) > 1
    finally:
        process.terminate()
        process.wait(30)
    with create_app(settings) as app:
        app.start()
        queue = app.queue.get_queue("mail")
        assert queue.get_job_counts()["waiting"] == COUNT + 1
        assert len(queue.get_repeatable_jobs()) == 1
