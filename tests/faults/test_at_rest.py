"""What worker processes cost while there is nothing to do: it does not grow with queues times processes. Counted by the
server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from stratix_kombu import create_app
from tests.faults.servers import OwnRedis
from tests.waiting import WAIT_S, until

QUEUES = 400
SENT = ("evalsha", "eval", "blmpop", "brpop", "lmpop", "blpop", "xread", "rpush", "llen")
"""What clients of this package send; scripts call others."""


class Idle:
    """Processes that serve the same queues, and a server of their own."""

    def __init__(self, url: str) -> None:
        self.namespace = f"rest{uuid.uuid4().hex[:8]}"
        self.settings: dict[str, Any] = {"driver": "redis", "redis": {"url": url}, "namespace": self.namespace}
        self.server: Any = Redis.from_url(url, decode_responses=True)
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, queues: int) -> int:
        """How many threads it has."""
        command = [sys.executable, "-m", "tests.faults.idle_process", json.dumps(self.settings), str(queues)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        assert process.stdout is not None
        said, threads = process.stdout.readline().split()
        assert said == "ready"
        return int(threads)

    def sent(self) -> int:
        """Commands since the server was started."""
        stats = self.server.info("commandstats")
        return sum(stats[f"cmdstat_{name}"]["calls"] for name in SENT if f"cmdstat_{name}" in stats)

    def rest(self, times: int) -> None:
        """Wait until the clock that leads has looked so often: each time about two and a half seconds."""
        key = f"{{{self.namespace}}}:leader"
        for _ in range(times):
            rests = self.server.hget(key, "rests")
            until(lambda rests=rests: self.server.hget(key, "rests") not in (None, rests), WAIT_S)  # type: ignore[misc]

    def close(self) -> None:
        for process in self._processes:
            process.communicate("")
        self.server.close()


@pytest.fixture
def idle() -> Iterator[Idle]:
    server = OwnRedis(keeps=False)
    server.start()
    made = Idle(server.url)
    yield made
    made.close()
    server.close()


def test_processes_with_many_queues_at_rest(idle: Idle) -> None:
    assert [idle.start(QUEUES) <= 12 for _ in range(2)] == [True, True]
    until(lambda: idle.server.hlen(f"{{{idle.namespace}}}:process") == 2, WAIT_S)
    assert len(idle.server.client_list()) <= 16
    idle.rest(1)
    before = idle.sent()
    idle.rest(2)
    # About five seconds of two processes with 400 queues. One command a queue would be 800.
    assert idle.sent() - before <= 40
    with create_app({**idle.settings, "worker": {"clock": False}}) as app:
        queue = app.queue.get_queue("q7")
        assert len(queue.get_workers()) == 2
        jobs = [app.queue.get_queue(f"q{number}").add("n", number) for number in (0, 7, QUEUES - 1)]
        assert [job.wait_until_finished(30) for job in jobs] == [0, 7, QUEUES - 1]


@pytest.mark.parametrize("queues", [1, 200])
def test_queues_with_listeners_are_read_together(idle: Idle, queues: int) -> None:
    """One thread and one connection, and a command every few seconds, however many queues are listened to."""
    heard: list[Any] = []
    with create_app({**idle.settings, "worker": {"clock": False}}) as app:
        threads = set(threading.enumerate())
        for number in range(queues):
            app.queue.get_queue(f"q{number}").on("waiting", lambda job: heard.append(job.data))
        names = [one.name for one in set(threading.enumerate()) - threads]
        assert names.count("stratix-events") == 1
        assert not [name for name in names if name.startswith("stratix-q")]

        def reads() -> int:
            found = idle.server.info("commandstats").get("cmdstat_xread")
            return int(found["calls"]) if found else 0

        until(lambda: reads() > 0, WAIT_S)
        began, before = idle.server.time()[0], reads()
        until(lambda: reads() >= before + 2, 60)
        assert idle.server.time()[0] - began >= 2
        for number in (0, queues - 1):
            app.queue.get_queue(f"q{number}").add("n", number)
        until(lambda: heard == [0, queues - 1], WAIT_S)
        later = app.queue.get_queue("later")
        later.on("waiting", lambda job: heard.append("later"))
        later.add("n")
        until(lambda: heard[-1] == "later", WAIT_S)
