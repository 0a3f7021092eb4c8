"""Programs that are forked from what has imported Celery begin and end as those that are started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fork_server import Program, _server, start
from tests.waiting import WAIT_S, until

ENVIRONMENT = _server.environment  # tests before these may have changed that of this process


def outcome(arguments: list[str], folder: Path, is_forked: bool) -> tuple[dict[str, Any], list[str], int]:
    log = folder / f"log of {is_forked}"
    log.touch()
    environment = {**ENVIRONMENT, "STRATIX_TEST_SHOWN": "é\n'", "STRATIX_TEST_PROJECT": str(folder)}
    program = start(["tests.unit.shown", *arguments], environment, log, is_forked)
    assert isinstance(program, Program) == is_forked
    status = program.wait(WAIT_S)
    assert program.poll() == program.returncode == status
    program.send_signal(signal.SIGKILL)  # which does nothing any more
    found, *rest = log.read_text().splitlines()
    return json.loads(found), rest, status


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["exits", "0", "", "a b", "é"], 0),
        (["exits", "70"], 70),
        (["raises", "x"], 1),
        (["waits"], 0),
        (["is killed", "9"], -9),
        (["is killed", "15"], -15),
    ],
)
def test_they_begin_and_end_alike(arguments: list[str], status: int, tmp_path: Path) -> None:
    forked, started = (outcome(arguments, tmp_path, is_forked) for is_forked in (True, False))
    assert forked[0] == started[0]
    assert forked[1][-2:] == started[1][-2:]
    assert forked[2] == started[2] == status


def test_one_is_signalled_and_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    program = Program(["http.server", "0"], ENVIRONMENT, log)
    assert program.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(0.01)
    program.send_signal(signal.SIGTERM)
    assert program.wait(WAIT_S) == -signal.SIGTERM


def test_one_that_has_ended_can_be_signalled_until_that_is_known(tmp_path: Path) -> None:
    """Its id is not given to another process."""
    log = tmp_path / "log"
    log.touch()
    program = Program(["tests.unit.shown", "exits", "3"], ENVIRONMENT, log)
    until(lambda: Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z", WAIT_S)
    os.killpg(program.pid, 0)
    assert program.wait(WAIT_S) == 3


@pytest.mark.parametrize("name", ["REMAP_SIGTERM", "PYTHONHASHSEED"])
def test_what_may_be_read_early_has_one_import_all_itself(name: str, tmp_path: Path) -> None:
    program = start(["tests.unit.shown", "exits", "0"], {**ENVIRONMENT, name: "1"}, tmp_path / "log")
    assert not isinstance(program, Program)
    assert program.wait(WAIT_S) == 0
