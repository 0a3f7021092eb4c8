"""A program that adds and handles jobs loads what it uses, and no more."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import stratix_kombu
from tests.architecture.test_shape import PACKAGE

HEAVY = {"celery", "click", "rich", "redis", "boto3", "prometheus_client", "croniter", "gevent", "sqlalchemy"}
PROGRAM = """
import sys
from stratix_kombu import *
app = create_app({"driver": "memory"})
queue = app.queue.create_queue("emails")
queue.process(lambda job: job.data)
with app:
    app.start()
    assert queue.add("welcome", 1, attempts=2).wait_until_finished(timeout=30) == 1
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def _loaded(program: str, folder: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_queue_api_loads_neither_celery_nor_a_command_line_nor_clients(tmp_path: Path) -> None:
    assert _loaded(PROGRAM, tmp_path) & HEAVY == set()


@pytest.mark.parametrize(
    "program",
    [
        "from stratix_kombu import create_app; create_app({'driver': 'redis'}).queue.create_queue('emails')",
        "from celery import Celery; from stratix_kombu.celery import install; install(Celery(broker='redis://'))",
    ],
    ids=["the queue API", "the bridge"],
)
def test_a_program_that_only_adds_loads_no_worker_and_no_other_store(tmp_path: Path, program: str) -> None:
    loaded = _loaded(f"{program}\nimport sys; print(*sys.modules)", tmp_path)
    others = {f"stratix_kombu.{one}" for one in ("worker.worker", "worker.sandbox.pool", "stores.sql", "stores.memory")}
    assert "stratix_kombu.queue.queue" in loaded
    assert loaded & others == set()


def test_the_package_alone_loads_nothing(tmp_path: Path) -> None:
    """``celery`` loads it for its entry points."""
    program = "import sys, stratix_kombu; print(*[name for name in sys.modules if name.startswith('stratix_kombu')])"
    assert _loaded(program, tmp_path) == {"stratix_kombu"}


def test_type_checkers_see_the_names_that_are_there() -> None:
    (block,) = (
        node
        for node in ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    )
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: f"{node.module}" for node in imports for alias in node.names if alias.name == alias.asname}
    assert sorted(seen) == stratix_kombu.__all__
    assert seen == {name: f"stratix_kombu.{home}" for name, home in stratix_kombu._HOME.items()}


def test_a_run_of_pytest_loads_what_its_fixtures_use(tmp_path: Path) -> None:
    """Each one of an environment with this package loads its plugin: 0.7 s of processor, were it all there is."""
    tmp_path.joinpath("test_nothing.py").write_text(
        "import sys\n\n"
        "def test_loaded():\n"
        "    print('loaded', *(one for one in sys.modules if one.split('.')[0] == 'stratix_kombu'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("loaded"))
    assert set(line.split()[1:]) == {"stratix_kombu", "stratix_kombu.testing", "stratix_kombu.testing.plugin"}
