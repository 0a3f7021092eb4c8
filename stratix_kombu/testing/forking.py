"""Children that a test forks: each does its part, and its answer comes back over a pipe."""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

DEADLINE_S = 60.0
MARGIN_S = 5.0


class Child:
    """A forked child that runs ``work``; whatever it returns must be JSON."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._pipe, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _run(work, theirs)
        os.close(theirs)

    def answer(self) -> Any:
        """What the child returned; AssertionError with its traceback if it raised or did not end in time."""
        deadline = time.monotonic() + DEADLINE_S
        said = b""
        try:
            while True:
                ready, _, _ = select.select([self._pipe], [], [], max(deadline - time.monotonic(), 0))
                assert ready, f"the child did not end in time: {said.decode(errors='replace')}"
                more = os.read(self._pipe, 65536)
                if not more:
                    break
                said += more
        finally:
            os.close(self._pipe)
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        answer = json.loads(said or b'{"error": "it ended without a word"}')
        assert "error" not in answer, answer["error"]
        return answer["value"]


def _run(work: Callable[[], Any], pipe: int) -> None:
    """Never returns: a child must not go on with the parent's test."""
    faulthandler.dump_traceback_later(DEADLINE_S - MARGIN_S, file=pipe)  # where it hangs is its answer then
    try:
        try:
            answer = {"value": work()}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        faulthandler.cancel_dump_traceback_later()
        os.write(pipe, json.dumps(answer).encode())
    finally:
        os._exit(0)


def together(count: int, work: Callable[[str], Any]) -> list[Any]:
    """Let ``count`` children and this process do the same at the same time; the answers, this process's last."""
    children = [Child(lambda name=f"child{number}": work(name)) for number in range(count)]  # type: ignore[misc]
    try:
        own = work("parent")
    finally:
        answers = [child.answer() for child in children]
    return [*answers, own]
