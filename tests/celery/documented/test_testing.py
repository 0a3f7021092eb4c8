"""Testing with Celery: https://docs.celeryq.dev/en/stable/userguide/testing.html"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.celery.workers import ROOT

TESTS = '''
from unittest.mock import patch

import pytest
from celery import chord, shared_task
from celery.exceptions import Retry


@pytest.fixture
def celery_app(celery_app):
    {install}
    return celery_app


@shared_task(name="documented.shared", bind=True)
def shared(self, x):
    try:
        return 10 / x
    except ZeroDivisionError as error:
        raise self.retry(exc=error)


def test_create_task(celery_app, celery_worker):
    """This fixture returns a Celery app you can use for testing; a live worker, in a separate thread."""

    @celery_app.task
    def mul(x, y):
        return x * y

    @celery_app.task
    def total(numbers):
        return sum(numbers)

    celery_worker.reload()
    assert mul.delay(4, 4).get(timeout=10) == 16
    assert chord([mul.s(1, 2), mul.s(3, 4)], total.s())().get(timeout=10) == 14
    assert celery_app.send_task("documented.shared", (5,)).get(timeout=10) == 2


@pytest.mark.celery(task_always_eager=True)
def test_mark(celery_app):
    """The celery mark enables you to override the configuration; eager mode is an emulation."""

    @celery_app.task
    def mul(x, y):
        return x * y

    assert mul.delay(4, 4).get() == 16
    assert chord([mul.s(1, 2), mul.s(3, 4)], mul.si(5, 5))().get() == 25


def test_failure(celery_app):
    """Set a side effect on the patched methods so that they raise the errors we want."""
    celery_app.set_current()
    with patch("celery.app.task.Task.retry", side_effect=Retry()), pytest.raises(Retry):
        celery_app.tasks["documented.shared"](0)
    assert celery_app.tasks["documented.shared"](5) == 2
'''


@pytest.mark.parametrize("side", ["stock", "bridge"])
def test_fixtures_of_celery(tmp_path: Path, side: str) -> None:
    install = "import stratix_kombu.celery; stratix_kombu.celery.install(celery_app)" if side == "bridge" else "pass"
    (tmp_path / "test_documented.py").write_text(TESTS.format(install=install))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "celery.contrib.pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
