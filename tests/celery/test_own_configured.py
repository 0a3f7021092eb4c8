"""What a project has configured for Celery's worker, in our own: its logging, its limits for processes; and what it is
told of that our own does not do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.celery.workers import ROOT, Project
from tests.waiting import until

WAIT_S = 60
MODULE = """
import logging, sys
from celery import Celery, bootsteps, signals
from celery.utils.log import get_task_logger
from stratix_kombu.celery import install

app = Celery("own_logging", broker={broker!r})
app.conf.update(task_default_queue={name!r}, worker_log_format="%(message)s", worker_task_log_format="task %(message)s")

class Step(bootsteps.StartStopStep):
    "The project's own."

if {bridge!r}:
    install(app, namespace={name!r})
    app.steps["worker"].add(Step)

def add(logger, said):
    handler = logging.FileHandler({path!r})
    handler.setFormatter(logging.Formatter(said + " %(message)s"))
    logger.addHandler(handler)

if {own!r}:
    @signals.setup_logging.connect
    def set_up(loglevel, logfile, format, colorize, **_):
        add(logging.getLogger(), f"own {{loglevel}} {{logfile}} {{format}} {{colorize}}")
        logging.getLogger().setLevel(loglevel)

@signals.after_setup_logger.connect
def after(logger, loglevel, logfile, format, colorize, **_):
    add(logger, f"{{logger.name}} {{loglevel}} {{logfile}} {{format}} {{colorize}}")

@signals.after_setup_task_logger.connect
def after_tasks(logger, loglevel, logfile, format, colorize, **_):
    add(logger, f"{{logger.name}} {{loglevel}} {{logfile}} {{format}} {{colorize}}")

@app.task(name="own.say", shared=False)
def say():
    get_task_logger("shop").warning("from a task")
    logging.getLogger("other").warning("from elsewhere")
"""


def said(broker: str, folder: Path, command: str, own: bool) -> tuple[set[str], str]:
    """What a worker's handlers have got of what a task logs; and all that it has written itself."""
    module, path = f"own_{uuid.uuid4().hex[:8]}", folder / "said"
    path.unlink(missing_ok=True)
    bridge = command == "stratix_kombu"
    text = MODULE.format(broker=broker, name=module, path=str(path), own=own, bridge=bridge)
    (folder / f"{module}.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "C_FORCE_ROOT": "1"}
    more = ["--log-level", "info"] if bridge else ["-P", "threads", "-l", "INFO"]
    line = [sys.executable, "-m", command, "-A", module, "worker", *more]
    if bridge:
        line = [sys.executable, "-m", command, "worker", "-A", module, *more]
    log = folder / f"{module}.log"
    with log.open("w") as file:
        worker = subprocess.Popen(line, env=environment, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
    try:
        send = f"import {module}; {module}.say.delay()"
        subprocess.run([sys.executable, "-c", send], env=environment, cwd=folder, check=True, timeout=WAIT_S)
        until(lambda: path.exists() and "from elsewhere" in path.read_text(), WAIT_S)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(WAIT_S)
    return {one for one in path.read_text().splitlines() if " from " in one}, log.read_text()


@pytest.mark.parametrize("own", [True, False])
def test_the_projects_logging(redis_url: str, tmp_path: Path, own: bool) -> None:
    """``setup_logging`` in the place of the worker's own; else what is added to that."""
    stock, _ = said(redis_url, tmp_path, "celery", own)
    bridge, log = said(redis_url, tmp_path, "stratix_kombu", own)
    assert bridge == stock
    assert len(stock) == 2
    assert ("from elsewhere" in log) is not own
    assert "bootsteps need 'celery worker': here they do nothing" in log or own


def test_processes_are_replaced_as_the_settings_say(on_redis: Project) -> None:
    with on_redis.worker("own", 1, worker_max_tasks_per_child=1):
        pids = [on_redis.task("pid").delay().get(timeout=WAIT_S) for _ in range(3)]
    assert len(set(pids)) == 3


def test_and_by_their_memory(on_redis: Project) -> None:
    with on_redis.worker("own", 1, worker_max_memory_per_child=1):  # each uses more
        pids = [on_redis.task("pid").delay().get(timeout=WAIT_S) for _ in range(2)]
    assert len(set(pids)) == 2


def test_and_not_where_the_command_line_says_0(on_redis: Project) -> None:
    conf = {"worker_max_tasks_per_child": 1, "worker_max_memory_per_child": 1}
    worker = on_redis.start_worker("own", 1, "--max-tasks-per-child=0", "--max-memory-per-child=0", **conf)
    try:
        pids = [on_redis.task("pid").delay().get(timeout=WAIT_S) for _ in range(3)]
    finally:
        worker.end()
    assert set(pids) == {worker.process.pid}
