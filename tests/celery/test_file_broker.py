"""A Celery project whose broker, store and results are one file, or one database: ``broker_url =
"stratix+sqlite:///jobs.db"`` or ``"stratix+postgresql://..."``, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group

from stratix_kombu import create_app
from stratix_kombu.testing.stores import audit
from tests.celery.test_beat import Beat
from tests.celery.workers import Project
from tests.waiting import until

WAIT_S = 30


@pytest.fixture(scope="module", params=["sqlite prefork", "postgresql prefork", "postgresql threads"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """With a worker that forks, or has threads."""
    kind, pool = request.param.split()
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('broker')}/jobs.db"
    else:
        url = f"{request.getfixturevalue('postgres_url')}?migrate=auto"
    # What is not sent at once comes much too late.
    project = Project(f"stratix+{url}", "", conf={"worker": {"redelivery_grace": 60_000}})
    with project.worker(pool, 2):
        yield project
        until(lambda: not project.queue.get_jobs(["waiting", "active", "delayed", "blocked"]), 20)
    assert audit(project.app.stratix.queue.engine.store) == []
    project.close()


def test_tasks_and_their_results(project: Project) -> None:
    add = project.task("add")
    assert [one.get(timeout=WAIT_S) for one in [add.delay(n, n) for n in range(20)]] == [2 * n for n in range(20)]
    assert project.queue.get_job(add.delay(1, 2).id).wait_until_finished(timeout=WAIT_S) == 3


def test_what_is_due_later(project: Project) -> None:
    begin = time.monotonic()
    assert project.task("add").apply_async((1, 2), countdown=0.5).get(timeout=WAIT_S) == 3
    assert time.monotonic() - begin >= 0.5


def test_canvas(project: Project) -> None:
    add, total = project.task("add"), project.task("total")
    assert chord([add.s(n, n) for n in range(10)])(total.s()).get(timeout=WAIT_S) == 90
    assert chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=WAIT_S) == 10
    assert group(add.s(n) for n in range(3))().get(timeout=WAIT_S) == [0, 1, 2]


def test_remote_control(project: Project) -> None:
    control = project.app.control
    pongs = until_some(lambda: control.ping(timeout=5, limit=1))
    assert [list(one.values()) for one in pongs] == [[{"ok": "pong"}]]
    (queues,) = control.inspect(timeout=WAIT_S, limit=1).active_queues().values()
    assert [one["name"] for one in queues] == [project.queue.name]


def until_some(ask: Any) -> Any:
    """The first answer that is not empty."""
    found: list[Any] = []
    until(lambda: found.extend(ask()) or found, WAIT_S)
    return found


def test_beat(project: Project, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    beat = Beat(project, {"quick": {"task": "proj.note", "schedule": 0.25, "args": [str(notes), "ran"]}}, tmp_path)
    until(lambda: notes.read_text().count("ran") >= 2, WAIT_S)
    beat.end()


def test_a_job_of_the_queue(project: Project) -> None:
    """Its handler is the worker's, too."""
    assert project.queue.add("echo", 4).wait_until_finished(timeout=WAIT_S) == 4


def test_a_process_without_celery(project: Project) -> None:
    """Its jobs are run by Celery's workers at once, its clock sends their tasks, and so do its steps."""
    with create_app({"store": project.broker.removeprefix("stratix+"), "namespace": project.prefix}) as plain:
        queue = plain.queue.get_queue(project.queue.name)
        jobs = queue.add_bulk([{"name": "echo", "data": number} for number in range(10)])
        assert [job.wait_until_finished(timeout=WAIT_S) for job in jobs] == [*range(10)]
        assert queue.add("echo", 4, delay=50).wait_until_finished(timeout=WAIT_S) == 4
        later = project.task("add").apply_async((1, 2), countdown=3600)
        found = queue.get_job(later.id)
        assert found is not None
        found.promote()
        assert later.get(timeout=WAIT_S) == 3
        assert plain.queue.engine.driver.depth(queue.name) == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_clock_without_celery(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """It promotes the tasks of Celery's workers where none of these has a clock."""
    on_file = kind == "sqlite"
    url = f"sqlite:///{tmp_path}/jobs.db" if on_file else f"{request.getfixturevalue('postgres_database')}?migrate=auto"
    project = Project(f"stratix+{url}", "", conf={"worker": {"clock": False}})
    with project.worker("threads", 2), create_app({"store": url, "namespace": project.prefix}) as plain:
        plain.queue.create_queue("other").process(lambda job: None)
        plain.start()
        assert project.task("add").apply_async((1, 2), countdown=0.3).get(timeout=WAIT_S) == 3
    project.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_worker_that_is_killed(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What it had begun is run by the next one."""
    on_file = kind == "sqlite"
    url = f"sqlite:///{tmp_path}/jobs.db" if on_file else f"{request.getfixturevalue('postgres_database')}?migrate=auto"
    project, notes = Project(f"stratix+{url}", ""), tmp_path / "notes"
    notes.touch()
    first = project.start_worker("prefork", 2)
    result = project.task("hang_once").delay(str(notes), "ran")
    until(lambda: notes.read_text() == "ran\n", WAIT_S)
    first.kill()
    with project.worker("prefork", 2):
        assert result.get(timeout=WAIT_S) == "ran"
    assert notes.read_text() == "ran\nran\n"
    assert audit(project.app.stratix.queue.engine.store) == []
    project.close()
