"""Every name that a hint gives exists."""

from __future__ import annotations

import importlib
import re

import click
import pytest

import stratix_kombu
from stratix_kombu import Application, Flow, Job, JobFailed, Queue, foreign, misplaced, types
from stratix_kombu.aio import AsyncFlow, AsyncJob, AsyncQueue, AsyncQueueManager
from stratix_kombu.application import HOOKS
from stratix_kombu.cli import main
from stratix_kombu.lock import DistributedLock
from stratix_kombu.model.event import BUILT_IN
from stratix_kombu.model.state import State
from stratix_kombu.queue.manager import QueueManager
from stratix_kombu.queue.repeatables import RepeatableJob
from stratix_kombu.schedule import ScheduleInfo, Scheduler
from tests.cli.conftest import own_commands

TABLES = {
    "JOB": (Job, AsyncJob),
    "QUEUE": (Queue, AsyncQueue),
    "MANAGER": (QueueManager, AsyncQueueManager),
    "FLOW": (Flow, AsyncFlow),
    "APPLICATION": (Application,),
    "SCHEDULER": (Scheduler,),
    "LOCKS": (DistributedLock,),
    "REPEATABLE": (RepeatableJob, ScheduleInfo),
    "ERROR": (JobFailed,),
}
PATHS = {
    "app.queue.aio": AsyncQueueManager,
    "app.queue": QueueManager,
    "app.schedule": Scheduler,
    "app": Application,
    "app.distributed_lock": DistributedLock,
    "queue.aio": AsyncQueue,
    "queue": Queue,
    "job": Job,
    "flow": Flow,
}
OF_INSTANCES = {"settings", "jobs", "dependencies", "reason"}
"""Attributes that a class does not show."""


def _there(owner: type, name: str) -> bool:
    return hasattr(owner, name) or name in OF_INSTANCES | set(getattr(owner, "__dataclass_fields__", ()))


def _says(text: str) -> None:
    """Fail for a name in it that does not exist."""
    for path, name in re.findall(r"\b((?:app|queue|job|flow|stratix_kombu)(?:\.\w+)*)\.(\w+)", text):
        if path.startswith("stratix_kombu"):
            assert hasattr(importlib.import_module(path), name), text
        else:
            assert _there(PATHS[path], name) if path in PATHS else path == "flow.root" and _there(Job, name), text
    for name in re.findall(r"\b[A-Z]\w+(?=\()", text):
        assert hasattr(stratix_kombu, name) or f".{name}" in text, text


@pytest.mark.parametrize("table", TABLES)
def test_what_is_meant_exists(table: str) -> None:
    for other, ours in getattr(foreign, table).items():
        if ours.isidentifier():
            assert _there(TABLES[table][0], ours), (other, ours)
        else:
            _says(ours)
        assert not hasattr(TABLES[table][0], other) or len(TABLES[table]) > 1, f"{other} is there, and never hinted"
    for cls in TABLES[table]:
        assert getattr(cls, "_foreign", None) is getattr(foreign, table)


def test_what_is_meant_by_options_events_and_states_exists() -> None:
    classes = [cls for name, cls in vars(types).items() if hasattr(cls, "__optional_keys__")]
    known = {key for cls in classes for key in cls.__optional_keys__ | cls.__required_keys__}
    known |= {"max_receive_count"}
    assert {one for names in foreign.OPTIONS.values() for one in names.split()} - known == set()
    assert {*misplaced.REMEDIES, *(marker for marker, _, _ in misplaced.PLACES)} <= known
    for text in {text for remedies in misplaced.REMEDIES.values() for text in remedies.values()}:
        _says(text)
    for _, options, text in misplaced.PLACES:
        assert set(options.split()) <= known
        _says(text.format("x"))
    assert set(misplaced.OF_QUEUES.split()) == types.QueueOpts.__optional_keys__
    assert set(misplaced.OF_WORKERS.split()) == types.WorkerOpts.__optional_keys__
    assert {*misplaced.OF_JOBS.split(), "limiter"} == types.JobOpts.__optional_keys__
    assert set(foreign.HOOKS.values()) <= set(HOOKS)
    assert set(foreign.EVENTS.values()) <= BUILT_IN
    assert set(foreign.STATES.values()) <= {one.value for one in State}
    for name, text in foreign.PACKAGE.items():
        assert not hasattr(stratix_kombu, name)
        assert hasattr(stratix_kombu, text) if text.isidentifier() else _says(text) is None


def test_what_is_meant_by_commands_exists() -> None:
    names: set[str] = set()
    options: set[str] = set()
    pending: list[click.Group] = [main]
    while pending:
        group = pending.pop()
        commands = dict(own_commands(group))
        names |= set(commands)
        options |= {one for command in commands.values() for param in command.params for one in param.opts}
        pending += [command for command in commands.values() if isinstance(command, click.Group)]
    assert {one for meant in foreign.COMMANDS.values() for one in meant.strip("'").removesuffix(" ID").split()} <= names
    assert set(foreign.COMMAND_OPTIONS.values()) <= options
