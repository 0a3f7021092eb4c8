"""``async def`` tasks, in pools of Celery's worker and in our own one."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.exceptions import SoftTimeLimitExceeded, TaskRevokedError

from tests.celery.conftest import lines, project_on
from tests.celery.workers import Project
from tests.waiting import until

WAIT_S = 60


@pytest.fixture(scope="module", params=["threads", "prefork", "gevent", "own"])
def worked(request: pytest.FixtureRequest) -> Iterator[Project]:
    project = project_on("redis", request)
    with project.worker(request.param, 2):
        yield project
    project.close()


def test_a_coroutine_has_its_request_and_retries(worked: Project, notes: str) -> None:
    result = worked.task("sleeps").delay(notes, fails=2)
    assert result.get(timeout=WAIT_S) == [result.id, 2]
    assert lines(notes) == ["began", "ended"]


def test_a_coroutine_is_part_of_a_canvas(worked: Project, notes: str) -> None:
    row = worked.task("sleeps").si(notes) | worked.task("same").s()
    first, retries = row.delay().get(timeout=WAIT_S)
    assert isinstance(first, str)
    assert retries == 0


@pytest.mark.parametrize("pool", ["threads", "gevent", "own"])
def test_it_is_cancelled_when_it_is_terminated(on_redis: Project, notes: str, pool: str) -> None:
    """As it could not be on threads: with prefork its process is ended."""
    with on_redis.worker(pool, 2):
        result = on_redis.task("sleeps").delay(notes, 60)
        until(lambda: lines(notes), WAIT_S)
        result.revoke(terminate=True)
        with pytest.raises(TaskRevokedError):
            result.get(timeout=WAIT_S)
        until(lambda: lines(notes) == ["began", "ended"], WAIT_S)


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for text in self.rfile:
            self.wfile.write(f"{self.client_address[1]} ".encode() + text)


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that answers each line with the number of its connection, and the line."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_client_that_belongs_to_its_loop_is_used_by_the_next_tasks(worked: Project, echo: int) -> None:
    results = [worked.task("calls").delay(echo) for _ in range(20)]
    found = [one.get(timeout=WAIT_S) for one in results]
    connections = dict[int, set[str]]()
    for result, (answer, pid, task_id, mark) in zip(results, found, strict=True):
        connection, asked = answer.split()
        assert (asked, task_id, mark) == (result.id, result.id, "x")  # each in a context of its own
        connections.setdefault(pid, set()).add(connection)
    assert len(connections) <= 2
    assert all(len(one) == 1 for one in connections.values())


@pytest.mark.parametrize("pool", ["prefork", "own"])
def test_a_soft_limit_is_raised_where_it_waits(on_redis: Project, notes: str, pool: str) -> None:
    """In our worker on a thread, where a task says that it has started."""
    with on_redis.worker(pool, 1, task_track_started=True):
        with pytest.raises(SoftTimeLimitExceeded):
            on_redis.task("waits").apply_async((notes,), soft_time_limit=1).get(timeout=WAIT_S)
        result = on_redis.task("waits").apply_async((notes, 60, True), soft_time_limit=1, time_limit=60)
        assert result.get(timeout=WAIT_S) == "returned"
    assert lines(notes) == ["began", "softly", "ended"] * 2


def test_it_is_what_it_was_when_it_is_called(on_redis: Project, notes: str) -> None:
    assert asyncio.run(on_redis.task("sleeps")(notes)) == [None, 0]


def test_many_at_a_time(on_redis: Project, notes: str, tmp_path: Path) -> None:
    """Each waits until all of them have begun."""
    gate = tmp_path / "gate"
    with on_redis.worker("own", 50):
        results = [on_redis.task("sleeps").delay(notes, gate=str(gate)) for _ in range(50)]
        until(lambda: lines(notes) == ["began"] * 50, WAIT_S)
        gate.touch()
        assert all(one.get(timeout=WAIT_S)[1] == 0 for one in results)


def test_nothing_of_a_task_is_left_to_the_collector(on_redis: Project) -> None:
    """Full collections go through all that is loaded: with hundreds of coroutines they took a quarter of the time."""
    with on_redis.worker("own", 2):
        for name in ("is_remembered", "is_remembered_too") * 2:
            on_redis.task(name).delay().get(timeout=WAIT_S)
        assert on_redis.task("are_left").delay(30).get(timeout=WAIT_S) == [4, 0]
