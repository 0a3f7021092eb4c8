"""The release of a project in which its workers have the bridge, and its other processes not yet, or no longer."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, chain, chord, signals

from stratix_kombu.celery import install, install_in_workers
from stratix_kombu.celery.bridge import bridge_of
from stratix_kombu.celery.mirror import Sending, sending
from stratix_kombu.errors import ConfigurationError
from tests.celery.beside import value
from tests.celery.conftest import broker_on, lines
from tests.celery.workers import ROOT, Project

RELEASES: dict[str, bool | str] = {"without": False, "in workers": "in workers", "with": True}
STEPS = [
    ("without", "in workers"),
    ("in workers", "with"),
    ("with",),
    ("with", "in workers"),
    ("in workers", "without"),
]
"""Which releases are in use at the same time, one step after the other: there, and back again."""


@pytest.fixture(params=["redis threads", "redis own", "rabbitmq prefork"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(kind: str, request: pytest.FixtureRequest) -> Iterator[Project]:
    project = Project(
        broker_on(kind.split()[0], request), request.getfixturevalue("redis_url"), conf={"bridge": "in workers"}
    )
    yield project
    project.close()


def send(app: Celery, path: str, key: str) -> tuple[dict[str, Any], list[str]]:
    """One of each kind with what it gives, and what is noted once by each task that runs."""
    note, flaky = app.tasks["proj.note"], app.tasks["proj.flaky"]
    names = [f"{key} {name}" for name in ("alone", "later", "first", "second", "one", "two", "joined")]
    alone, later, first, second, one, two, joined = (note.si(path, name) for name in names)
    results = {
        names[0]: alone.apply_async(),
        names[1]: later.apply_async(countdown=0.5),
        names[3]: chain(first, second).apply_async(),
        names[6]: chord([one, two], joined).apply_async(),
        f"['{key}', 1]": flaky.delay(key, 1),
    }
    return results, names


def begun_again(project: Project, app: Any) -> list[Any]:
    """The notes that were, and what the store knows of their attempts."""
    jobs = app.stratix.queue.get_queue(f"{project.prefix}q").get_jobs()
    return [(job.id, job.get_attempts()) for job in jobs if job.name == "proj.note" and job.attempts_started > 1]


def test_releases_follow_each_other_in_any_order(project: Project, kind: str, tmp_path: Path) -> None:
    """Nothing is lost, each result is right, and each task runs once, whichever processes come first."""
    notes, expected = str(tmp_path / "notes"), list[str]()
    apps = {name: project.make(bridge=bridge) for name, bridge in RELEASES.items()}
    for name in ("without", "in workers"):
        assert bridge_of(apps[name]) is None
        apps[name].backend.remove_pending_result = lambda result: result  # they would look for the server as they go
    workers: dict[str, Any] = {}
    with ExitStack() as stack:

        def start(release: str) -> None:
            # Celery's threads mix up their stacks of tasks: a stock worker of them may refuse to count a chord.
            pool = "prefork" if release == "without" else kind.split()[1]
            workers[release] = project.start_worker(pool, 2, ready=False, bridge=RELEASES[release])
            stack.callback(workers[release].end)

        for step, releases in enumerate(STEPS):
            sent = [send(apps[one], notes, f"{step} {one} before") for one in releases]  # the producers come first
            for one in releases:
                if one not in workers:
                    start(one)
            for one in releases:
                workers[one].wait_until_ready()
            sent += [send(apps[one], notes, f"{step} {one} after {number}") for number in range(2) for one in releases]
            for results, names in sent:
                assert {name: str(value(result)) for name, result in results.items()} == {one: one for one in results}
                expected += names
            for gone in workers.keys() - {one for later in STEPS[step + 1 : step + 2] for one in later}:
                workers.pop(gone).end()
    ran = Counter(lines(notes))
    odd = {name: ran[name] for name in ran.keys() | set(expected) if ran[name] != expected.count(name)}
    assert odd == {}, f"begun more than once: {begun_again(project, apps['with'])}"
    apps["with"].stratix.close()  # type: ignore[attr-defined]


def test_commands_of_the_bridge_see_the_jobs(redis_url: str) -> None:
    project = Project(redis_url, redis_url, conf={"bridge": "in workers"})

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "celery", "-A", "tests.celery.project", "stratix", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=project.environment(), capture_output=True, text=True, check=True
        ).stdout

    with project.worker():
        assert project.task("add").delay(1, 2).get(timeout=60) == 3
        assert "completed" in run("queues")
        assert len(run("leave").splitlines()) == 1
    assert "installed in workers" in run("check")
    project.close()


def test_it_is_the_worker_of_that_application_that_counts() -> None:
    one, other = (Celery(name, broker="memory://", set_as_current=False) for name in ("one", "other"))
    install_in_workers(one, driver="memory://")
    signals.celeryd_init.send(sender="w@test", instance=SimpleNamespace(app=other), conf=other.conf, options={})
    assert bridge_of(one) is bridge_of(other) is None
    signals.celeryd_init.send(sender="w@test", instance=SimpleNamespace(app=one), conf=one.conf, options={})
    bridge = bridge_of(one)
    assert bridge is not None
    assert bridge_of(other) is None
    assert sending(bridge) is Sending.PLAIN  # what a worker sends by itself, as its beat does


def test_what_cannot_be_is_refused_at_once() -> None:
    app = Celery("one", broker="memory://", set_as_current=False)
    with pytest.raises(ConfigurationError, match="results must be"):
        install_in_workers(app, results="both")  # type: ignore[arg-type]
    install_in_workers(app)
    for function in (install, install_in_workers):
        with pytest.raises(ConfigurationError, match="has the bridge already"):
            function(app)
