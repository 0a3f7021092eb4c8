"""What Celery's user guide says, a table for each page: each statement is tried with stock Celery and with the bridge.

A test file is a page. It adds statements to a ``Page``, each with a script, and with what that gives on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.celery.beside import WAIT_S, Beside, Side, outcome
from tests.celery.results import got

Script = Callable[[Side], Any]


@dataclass(frozen=True)
class Statement:
    """What the page says, in its words; a script that relies on it; and what that gives."""

    words: str
    script: Script
    gives: Any
    on: str
    """A pattern of the hosts, such as ``redis-prefork``, where it holds."""

    def check(self, pair: Beside, threads: Sequence[ThreadPoolExecutor]) -> None:
        """Run the script on both sides, each in a thread of its own: what Celery keeps for a thread stays."""
        running = {
            side.name: thread.submit(self.script, side)
            for thread, side in zip(threads, (pair.stock, pair.bridge), strict=True)
        }
        found = {name: outcome(one.result) for name, one in running.items()}
        assert list(found.values()) == [self.gives] * 2, f"{self.words!r}: {found!r} instead of {self.gives!r}"


class Page:
    """A page of the user guide."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []

    def says(self, words: str, gives: Any, on: str = "") -> Callable[[Script], Script]:
        def add(script: Script) -> Script:
            self.statements.append(Statement(words, script, gives, on))
            return script

        return add

    def tried_on(self, *hosts: str) -> pytest.MarkDecorator:
        """Tests of all statements; a host is a transport and the pool of the workers."""
        tests = [
            pytest.param(host, one, id=f"{host}-{one.script.__name__}")
            for host in hosts
            for one in self.statements
            if re.search(one.on, host)
        ]
        return pytest.mark.parametrize(("host", "statement"), tests)


def kind(result: Any) -> str:
    """The name of the error that a result raises."""
    try:
        return f"no error: {got(result, WAIT_S)!r}"
    except Exception as error:
        return type(error).__name__
