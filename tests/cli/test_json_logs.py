"""``--log-format json``: whatever is written to stderr is JSON."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application
from tests.cli.command_processes import running, write_module
from tests.waiting import until

NOISE = """
import sys, threading, traceback, warnings
print("imported", file=sys.stderr)
warnings.warn("old thing", stacklevel=1)
logging.basicConfig(format="own %(message)s")

class Ends:
    def __del__(self):
        raise RuntimeError("in del")

def fall():
    raise KeyError("in a thread")

@emails.process("noise")
def noise(job):
    warnings.warn("another old thing", stacklevel=1)
    sys.stderr.write("half a ")
    sys.stderr.write("line\\nand a whole one\\n")
    thread = threading.Thread(target=fall, name="falls")
    thread.start()
    thread.join()
    Ends()
    try:
        1 / 0
    except ZeroDivisionError:
        traceback.print_exc()
    logger.info("with %d arguments", "no number")
    logger.warning("größe \\u202e", extra={"nan": float("nan"), "keys": {1: {2}}})
    raise ValueError("no such\\naddress")

emails.process("apart", "apart.py")
"""
APART = """
import sys, warnings
def process(job):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    warnings.warn("in a child", stacklevel=1)
    raise ValueError("apart")
"""

DICT = """
import logging.config
handlers = {'h': {'class': 'logging.StreamHandler'}}
logging.config.dictConfig({'version': 1, 'root': {'handlers': ['h'], 'level': 'INFO'}, 'handlers': handlers})
"""


@pytest.fixture
def folder(config: Path) -> Path:
    folder = write_module(config)
    (folder / "shop.py").write_text((folder / "shop.py").read_text() + NOISE)
    (folder / "apart.py").write_text(APART)
    return folder


def records(text: str) -> list[dict[str, Any]]:
    """Each line, which must be JSON."""

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in text.split("\n")[:-1]]


def test_nothing_but_json_is_written(folder: Path, app: Application) -> None:
    queue = app.queue.get_queue("emails")
    with running(folder, "worker", "--app", "shop:app", "--log-format", "json") as worker:
        jobs = [queue.add(name, job_id=name) for name in ("noise", "apart", "welcome")]
        until(lambda: all(job.refresh().state in ("completed", "failed") for job in jobs), 60)
        assert worker.ended(signal.SIGTERM) == 0, worker.err
    found = records(worker.err)
    messages = [one["message"] for one in found]
    for words in ("imported", "half a line", "and a whole one", "ZeroDivisionError: division by zero", "größe \u202e"):
        assert words in messages
    for words in ("runs jobs of", "old thing", "another old", "to stderr", "in a child"):
        assert any(words in one for one in messages), words
    # A job is settled in the store a moment before its slot is free.
    (stopping,) = [one for one in found if one.get("action") == "stopping"]
    runs = "waiting for 1 job," if stopping["jobs"] else "no job runs"
    assert f"{stopping['message']},".startswith(f"stopping, {runs}")
    (thread,) = [one for one in found if "falls" in one["message"]]
    assert (thread["level"], "KeyError: 'in a thread'" in thread["exception"]) == ("ERROR", True)
    assert any("in del" in one.get("exception", "") for one in found)
    failed = {one["job_name"]: one for one in found if one.get("action") == "job_failed"}
    assert "no such\naddress" in failed["noise"]["exception"]
    assert "apart.py" in failed["apart"]["exception"]
    (line,) = [one for one in found if one["message"] == "half a line"]
    assert (line["logger"], line["level"], line["job_id"], line["queue"]) == ("stderr", "WARNING", "noise", "emails")


@pytest.mark.parametrize(
    ("command", "how"), [("worker", "raises"), ("worker", "dictConfig"), ("beat", "no such module")]
)
def test_what_goes_wrong_at_the_start_is_json(folder: Path, command: str, how: str) -> None:
    text = (folder / "shop.py").read_text()
    more = {
        "raises": "raise OSError('no disk')\n",
        "dictConfig": DICT + "logging.warning('mine')\nraise OSError('x')\n",
        "no such module": "",
    }[how]
    (folder / "shop.py").write_text(text + more)
    name = "shopp" if how == "no such module" else "shop:app"
    with running(folder, command, "--app", name, "--log-format", "json") as worker:
        assert worker.ended() == 2
    found = records(worker.err)
    assert any("no module" in one["message"] or "cannot be imported" in one["message"] for one in found)


def test_supervised_processes(folder: Path) -> None:
    with running(folder, "worker", "-A", "shop", "--processes", "2", "--log-format", "json") as supervisor:
        until(lambda: supervisor.err.count("runs jobs of") == 2, 60)
        (own, *_) = [int(line) for line in (folder / "started").read_text().split()]
        children = [int(line) for line in (folder / "started").read_text().split() if int(line) != own]
        os.kill(children[0], signal.SIGKILL)
        until(lambda: supervisor.err.count("runs jobs of") == 3, 60)
        assert "restarting in" in supervisor.err
        assert supervisor.ended(signal.SIGTERM) == 0
    assert any(one["message"].startswith("supervisor ") for one in records(supervisor.err))


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_module_that_sets_up_logging_by_a_dictionary(folder: Path, app: Application, log_format: str) -> None:
    """That disables all loggers which are there already; ours are, since the command was before the module."""
    (folder / "shop.py").write_text((folder / "shop.py").read_text() + DICT)
    job = app.queue.get_queue("emails").add("noise", job_id="noise")
    with running(folder, "worker", "--app", "shop:app", "--log-format", log_format) as worker:
        until(lambda: job.refresh().state == "failed", 60)
        assert worker.ended(signal.SIGTERM) == 0, worker.err
    assert worker.err.count("job noise (noise, queue emails) failed for good") == 1
    if log_format == "json":
        assert any(one["message"].startswith("worker ") for one in records(worker.err))
