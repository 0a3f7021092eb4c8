"""``new``: a small project to begin with, which runs without a server and passes its tests."""

from __future__ import annotations

import re
import sys
from importlib.metadata import packages_distributions
from keyword import iskeyword
from pathlib import Path

import click

from stratix_kombu.cli.commands import Failed
from stratix_kombu.cli.logs import say

SETTINGS = """\
# Jobs are kept in a file, which is all that one machine needs. With a server, in place of the store:
# redis = {{ url = "redis://localhost:6379/0" }}
store = "sqlite:///jobs.db"
namespace = "{name}"

[default_job_options]
attempts = 3
backoff = {{ type = "exponential", delay = 1000 }}
remove_on_complete = {{ age = 86400000, count = 1000 }}
"""
JOBS = '''\
"""Jobs of {name}: handlers, and the application that they belong to."""

from stratix_kombu import create_app

app = create_app("stratix.toml")
emails = app.queue.create_queue("emails", concurrency=10)


@emails.process("welcome")
def welcome(job):
    job.log(f"writing to {{job.data['to']}}")
    return f"sent to {{job.data['to']}}"
'''
ADD = '''\
"""Adds a job, and waits for it: run `python add.py` beside a worker."""

from {name}.jobs import app, emails

if __name__ == "__main__":
    with app:
        job = emails.add("welcome", {{"to": "ada@example.com"}})
        print(job.wait_until_finished(timeout=60))
'''
TESTS = '''\
"""Tests: without a server, in memory."""

from {name}.jobs import emails


def test_welcome(stratix_worker):
    job = emails.add("welcome", {{"to": "ada@example.com"}})
    assert stratix_worker(emails)["completed"] == 1
    assert job.refresh().return_value == "sent to ada@example.com"
    assert job.get_logs() == ["writing to ada@example.com"]
'''
CONFTEST = '''\
"""The jobs of tests are kept in memory."""

import os

os.environ.update(STRATIX_DRIVER="memory", STRATIX_STORE="memory://")
'''
README = """\
# {name}

    pip install "stratix-kombu[redis]" pytest
    python -m pytest                                   the tests, without a server
    stratix-kombu worker --app {name}.jobs:app         runs the jobs
    python add.py                                      adds one, and waits for it
    stratix-kombu queues --app {name}.jobs:app         what is in the queues

`stratix.toml` says where jobs are kept. `{name}/jobs.py` has the handlers.
"""
FILES = {
    "stratix.toml": SETTINGS,
    "{name}/__init__.py": '"""{name}."""\n',
    "{name}/jobs.py": JOBS,
    "add.py": ADD,
    "conftest.py": CONFTEST,
    "tests/test_jobs.py": TESTS,
    "README.md": README,
    ".gitignore": "jobs.db*\n__pycache__/\n",
}
OWN = {path.split("/")[0].removesuffix(".py") for path in FILES}
"""What stands beside the package and can be imported."""
USED = ("stratix_kombu", "pytest", "redis", "kombu", "click")
"""What the project imports, directly or not, even if it is installed elsewhere."""


def _taken_by(name: str) -> str:
    """What a package of that name could not be told from, or would hide from all programs in its folder; '' = nothing.
    The soft keywords (match, type) are names for an import."""
    if iskeyword(name):
        return "a keyword of Python"
    if name in sys.stdlib_module_names:
        return "a module of Python's standard library"
    if name.lower() in OWN:
        return "the name of another file of the project"
    if name in USED or name in packages_distributions():
        return "a package that is installed here"
    return ""


def _folder(context: click.Context, parameter: click.Parameter, given: str) -> Path:
    """The folder, unless it is '': that would be the current one, into which nobody meant to write."""
    if not given:
        raise click.BadParameter("it is empty: name a folder, such as shop, or '.' for the current one")
    return Path(given)


@click.command("new", short_help="Write a small project to begin with.")
@click.argument("folder", callback=_folder)
def new(folder: Path) -> None:
    """Write a small project: settings, a queue with a handler, a program that adds a job, and tests.

    It needs no server: jobs are kept in a file until stratix.toml names a Redis. The package in it is called as the
    folder, so that must be no word of Python and no module that is there already. Nothing that is there is overwritten.

    \b
    Example:
      stratix-kombu new shop && cd shop && python -m pytest
    """
    name = folder.resolve().name.replace("-", "_")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,39}", name):
        raise click.UsageError(f"{name!r} cannot name a package: use letters, digits and underscores")
    if taken := _taken_by(name):
        raise click.UsageError(f"{name!r} cannot name a package: it is {taken}; choose another, such as '{name}_jobs'")
    files = {folder / path.format(name=name): text.format(name=name) for path, text in FILES.items()}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise Failed(f"{there[0]} is there already: choose another folder")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    say(f"{folder}: {len(files)} files; read {folder / 'README.md'}")
