"""Debugging Tasks Remotely (using pdb): https://docs.celeryq.dev/en/stable/userguide/debugging.html"""

from __future__ import annotations

import re
import socket
from typing import IO, Any

import pytest

from tests.celery.beside import Side, beside, value
from tests.waiting import WAIT_S, until

READY = re.compile(r"Remote Debugger:(\d+): Ready to connect: telnet 127.0.0.1 \1")


def answer(session: IO[str], command: str) -> str:
    """What the debugger says to a command, up to its next prompt."""
    session.write(f"{command}\n")
    session.flush()
    return up_to_prompt(session)


def up_to_prompt(session: IO[str]) -> str:
    said = ""
    while not said.endswith("(Pdb) "):
        character = session.read(1)
        assert character, said
        said += character
    return said.removesuffix("(Pdb) ").strip()


def debug(side: Side) -> Any:
    """The session that the page shows."""
    result = side.task("debugged").delay(2, 2)
    until(lambda: READY.search(side.log()), WAIT_S)
    ready = READY.search(side.log())
    assert ready is not None
    with socket.create_connection(("127.0.0.1", int(ready[1])), 30) as connection:
        connection.settimeout(30)
        with connection.makefile("rw") as session:
            found = [up_to_prompt(session).splitlines()[-1], answer(session, "result")]
            found += [answer(session, "result = 'hello from rdb'"), answer(session, "result")]
            session.write("continue\n")
            session.flush()
            found += [value(result), value(side.task("add").delay(1, 1))]
    return [*found, "ended." in side.log()]


@pytest.mark.parametrize("bridged", ["", "own"])
def test_a_breakpoint_in_a_task(redis_url: str, bridged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "If you telnet the port specified you'll be presented with a pdb shell" """
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # our own worker leaves standard output as it is
    with beside(redis_url, redis_url, "prefork", 2, bridged=bridged, documented="tasks") as pair:
        assert pair.both(debug) == ["-> return result", "4", "", "'hello from rdb'", "hello from rdb", 2, True]
