"""``stratix_sandbox``: which tasks run in children of our own worker, and within which limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Celery

from stratix_kombu.celery.importable import where_is
from stratix_kombu.config.options import ProcessorOptions
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.worker.sandbox.source import Source

OPTION = "stratix_sandbox"
"""The attribute of a task that says so: True, or limits of its own."""
OF_A_QUEUE = ("max_sandboxes", "sandboxed")
"""Options of ``processor`` that one task cannot have."""


def is_sandboxed(task: Any) -> bool:
    """Whether the task is to run in a sandbox, where there are any."""
    return getattr(task, OPTION, None) not in (None, False)


def options_of(task: Any, others: ProcessorOptions) -> ProcessorOptions:
    """The limits of such a task: its own, else those of its queue. Raises ConfigurationError."""
    given, where = getattr(task, OPTION), f"{OPTION} of task {task.name!r}"
    if given is True:
        return others
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{where} must be True or a mapping, such as {{'max_memory_usage': 512}}")
    of_queue = [name for name in OF_A_QUEUE if name in given]
    if of_queue:
        raise ConfigurationError(f"{where}: {of_queue[0]!r} is an option of the queue's 'processor'")
    return ProcessorOptions.parse(given, where, others)


def source_of_tasks(app: Celery, hostname: str) -> Source:
    """Where a child finds the tasks of an application. Raises ConfigurationError if it cannot import that."""
    module, name = where_is(app)
    if module == "__main__":
        raise ConfigurationError(f"{app!r} is defined in the main script: a sandbox imports it from a module")
    return Source("made", "stratix_kombu.celery.in_sandbox:runner", f"{module}:{name} {hostname}")
