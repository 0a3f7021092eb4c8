"""The pytest fixtures, as a project of a user has them: with queues of its own module."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import WaitTimeout, create_app

JOBS = """
    import os
    from stratix_kombu import create_app

    app = create_app({"driver": "memory"})
    emails = app.queue.create_queue("emails", concurrency=4)
    letters = app.queue.create_queue("letters")
    ran = []

    @emails.process("welcome")
    def welcome(job):
        ran.append(job.data)
        if job.data == "flaky" and not job.attempts_made:
            raise ConnectionError("once")
        return f"sent to {job.data}"

    @emails.process("chain")
    async def chain(job):
        await emails.aio.add("welcome", job.data)

    letters.process(lambda job: emails.add("welcome", job.data).id)
"""
TESTS = """
    import asyncio
    import pytest
    import jobs
    from jobs import app, emails, letters, ran
    from stratix_kombu import Closed, WaitTimeout


    def test_a_queue_of_the_module_is_worked_off(stratix_worker):
        job = emails.add("welcome", "ada")
        emails.add("welcome", "flaky", attempts=2, backoff=10)
        emails.add("welcome", "late", delay=20)
        emails.add("chain", "chained", dependencies=[job])
        assert job.get_state() == "waiting"
        assert stratix_worker(emails)["completed"] == 5
        assert job.refresh().return_value == "sent to ada"
        assert sorted(ran) == ["ada", "chained", "flaky", "flaky", "late"]


    def test_and_again_but_not_between(stratix_worker):
        ran.clear()
        job = emails.add("welcome", "eve")
        with pytest.raises(WaitTimeout):
            job.wait_until_finished(0.2)
        assert ran == []
        stratix_worker(emails)
        assert ran == ["eve"]


    def test_after_a_web_client_has_closed_the_application(stratix_worker):
        ran.clear()

        async def request():
            async with app:
                await emails.aio.add("chain", "by the web")

        asyncio.run(request())
        asyncio.run(request())
        stratix_worker(emails)
        assert ran == ["by the web"] * 2
        with pytest.raises(Closed):
            emails.add("welcome")
        with app:
            emails.add("welcome", "open again")
        stratix_worker(emails)


    @pytest.mark.stratix(app="jobs:app")
    def test_the_application_of_the_module_is_started(stratix_app, stratix_worker):
        assert stratix_app is app
        assert emails.get_job_counts()["completed"] == 0, "what other tests left is gone"
        first = letters.add("n", "by letter")
        assert first.wait_until_finished(10)
        assert stratix_worker(emails)["completed"] == 1
        emails.add("welcome", "left behind", delay=60_000)


    @pytest.mark.stratix(app="jobs:app")
    def test_and_each_test_begins_with_empty_queues(stratix_app):
        assert sum(emails.get_job_counts().values()) == 0
        assert emails.add("welcome", "bob").wait_until_finished(10) == "sent to bob"
"""


def run(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    (folder / "jobs.py").write_text(textwrap.dedent(JOBS))
    (folder / "tests").mkdir()
    (folder / "tests" / "test_jobs.py").write_text(textwrap.dedent(tests))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_a_project_of_a_user(tmp_path: Path) -> None:
    done = run(tmp_path, TESTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("app='jobs:apps'", "app='jobs:apps' cannot be found"),
        ("'jobs:app'", "marker stratix: write app='jobs:app'"),
        ("app='job:app'", "No module named 'job'"),
        ("app='jobs:emails'", "is a Queue and no Application"),
        ("app='jobs:app', driver='redis'", "has settings of its own: leave out ['driver']"),
    ],
)
def test_a_marker_that_cannot_be_used(tmp_path: Path, marker: str, words: str) -> None:
    tests = f"import pytest\n@pytest.mark.stratix({marker})\ndef test_it(stratix_app): pass\n"
    done = run(tmp_path, tests)
    assert done.returncode != 0
    assert words in done.stdout


def test_a_queue_that_nobody_can_work_off(stratix_worker: Any) -> None:
    app = create_app({"driver": "memory", "namespace": "nobody"})
    queue = app.queue.get_queue("q")
    queue.add("n")
    with pytest.raises(WaitTimeout, match=r"still has \{'waiting': 1\}.*has no handler"):
        stratix_worker(queue, timeout=0.1)
    queue.process(lambda job: "done")
    assert stratix_worker(queue)["completed"] == 1
    assert queue.worker is None
    queue.obliterate(force=True)
    app.close()


def test_a_queue_of_a_started_application_goes_on_afterwards(stratix_app: Any, stratix_worker: Any) -> None:
    queue = stratix_app.queue.get_queue("q")
    queue.process(lambda job: "done")
    queue.add("n")
    assert stratix_worker(queue)["completed"] == 1
    assert queue.add("n").wait_until_finished(10) == "done"
