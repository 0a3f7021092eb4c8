"""One clock of a namespace leads: when it is killed or stopped, or the server is restarted, another one does its work,
each step is made once, and what rests costs the server next to nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from stratix_kombu import Application, create_app
from tests.faults.servers import OwnRedis
from tests.waiting import until

SOON_MS = 300
QUEUES = 50


class Clocks:
    """Processes with a clock and nothing else, and an application without one."""

    def __init__(self, url: str) -> None:
        self.namespace = f"lead{uuid.uuid4().hex[:8]}"
        settings: dict[str, Any] = {"driver": "redis", "redis": {"url": url}, "namespace": self.namespace}
        self._command = [sys.executable, "-m", "tests.faults.clock_process", json.dumps(settings)]
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.server: Any = Redis.from_url(url, decode_responses=True)
        self.app: Application = create_app({**settings, "worker": {"clock": False}})

    def start(self, count: int) -> None:
        started = [subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        for process in started:
            self.processes[process.pid] = process
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

    @property
    def leader(self) -> int:
        """The process whose clock leads; 0 for none."""
        clock = self.server.hget(f"{{{self.namespace}}}:leader", "clock")
        return int(clock.rsplit("-", 2)[1]) if clock else 0

    def wait_for_leader(self, *others: int) -> int:
        """The one that leads, once it is none of the others."""
        until(lambda: self.leader not in (0, *others), 30)
        return self.leader

    def promotes(self) -> bool:
        """A job of some hundred milliseconds becomes waiting."""
        queue = self.app.queue.get_queue("q")
        job = queue.add("x", delay=SOON_MS)
        until(lambda: job.get_state() == "waiting", 30)
        return True

    def close(self) -> None:
        self.app.close()
        self.server.close()
        for process in self.processes.values():
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def clocks(redis_url: str) -> Iterator[Clocks]:
    made = Clocks(redis_url)
    yield made
    made.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_another_clock_leads(clocks: Clocks, number: signal.Signals) -> None:
    clocks.start(2)
    first = clocks.wait_for_leader()
    assert clocks.promotes()
    os.kill(first, number)
    assert clocks.wait_for_leader(first) in clocks.processes
    assert clocks.promotes()


def test_a_clock_that_was_stopped_and_goes_on_does_nothing_twice(clocks: Clocks) -> None:
    queue = clocks.app.queue.get_queue("q")
    clocks.start(2)
    first = clocks.wait_for_leader()
    queue.add_repeatable_job("tick", key="k", every=200)
    delayed = [queue.add("x", delay=10 * n).id for n in range(200)]
    os.kill(first, signal.SIGSTOP)
    second = clocks.wait_for_leader(first)
    more = [queue.add("x", delay=10 * n).id for n in range(200)]
    os.kill(first, signal.SIGCONT)
    os.kill(second, signal.SIGSTOP)
    until(lambda: queue.get_job_counts()["delayed"] == 0, 30)
    runs = queue.get_repeatable_jobs()[0].runs
    until(lambda: queue.get_repeatable_jobs()[0].runs > runs, 30)
    os.kill(second, signal.SIGCONT)
    log = clocks.app.queue.store.events.read("q", "0", 10_000)
    waits = Counter(one.job_id for one in log if one.name == "waiting")
    assert {one: waits[one] for one in (*delayed, *more)} == dict.fromkeys((*delayed, *more), 1)
    assert set(waits.values()) == {1}, "a slot was fired twice"


@pytest.mark.parametrize("keeps", [True, False])
def test_the_server_is_restarted(keeps: bool) -> None:
    server = OwnRedis(keeps)
    server.start()
    clocks = Clocks(server.url)
    try:
        clocks.start(2)
        clocks.wait_for_leader()
        server.restart()
        assert clocks.promotes()
    finally:
        clocks.close()
        server.close()


def test_clocks_at_rest_ask_little() -> None:
    """However many queues there are: counted by the server over two rests."""
    server = OwnRedis(keeps=False)
    server.start()
    clocks = Clocks(server.url)
    try:
        for number in range(QUEUES):
            clocks.app.queue.get_queue(f"q{number}").add("x", delay=3_600_000)
        clocks.start(2)
        clocks.wait_for_leader()
        looks = f"{{{clocks.namespace}}}:leader"
        before = clocks.server.info("commandstats")
        for _ in range(2):
            rests = clocks.server.hget(looks, "rests")
            until(lambda rests=rests: clocks.server.hget(looks, "rests") != rests, 30)  # type: ignore[misc]
        after = clocks.server.info("commandstats")
        sent = {
            name: after[f"cmdstat_{name}"]["calls"] - before.get(f"cmdstat_{name}", {"calls": 0})["calls"]
            for name in ("evalsha", "blpop")
            if f"cmdstat_{name}" in after
        }
        # About four seconds of two clocks; each would send thousands if it asked for each queue.
        assert sent["evalsha"] <= 20
        assert sent["blpop"] <= 6
    finally:
        clocks.close()
        server.close()
