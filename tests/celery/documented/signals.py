"""Notes of a worker's signals in its log: their names, the arguments that the user guide names, and the sender."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from celery import signals

ARGUMENTS = {
    "before_task_publish": ["body", "declare", "exchange", "headers", "properties", "retry_policy", "routing_key"],
    "after_task_publish": ["body", "exchange", "headers", "routing_key"],
    "task_prerun": ["args", "kwargs", "task", "task_id"],
    "task_postrun": ["args", "kwargs", "retval", "state", "task", "task_id"],
    "task_retry": ["einfo", "reason", "request"],
    "task_success": ["result", "runtime"],
    "task_failure": ["args", "einfo", "exception", "kwargs", "task_id", "traceback"],
    "task_received": ["request"],
    "task_revoked": ["expired", "request", "signum", "terminated"],
    "task_unknown": ["exc", "id", "message", "name"],
    "task_rejected": ["exc", "message"],
    "celeryd_init": ["conf", "instance", "options"],
    "celeryd_after_setup": ["conf", "instance"],
    "worker_init": [],
    "worker_before_create_process": [],
    "worker_process_init": [],
    "worker_ready": [],
    "worker_shutting_down": ["exitcode", "how", "sig"],
    "worker_process_shutdown": ["exitcode", "pid"],
    "worker_shutdown": [],
    "import_modules": [],
    "setup_logging": ["colorize", "format", "logfile", "loglevel"],
}
QUIET = {"setup_logging"}
"""Logging stays as it is only if nobody listens to it."""


def told(name: str, sender: str, arguments: list[str]) -> str:
    return f"signal {name} of {sender}: {', '.join(arguments)}"


def _name_of(sender: Any) -> str:
    return str(getattr(sender, "name", None) or (sender if isinstance(sender, str) else type(sender).__name__))


def _receiver(signal: str) -> Callable[..., None]:
    def receive(sender: Any = None, **given: Any) -> None:
        known = [one for one in ARGUMENTS[signal] if one in given]
        print(told(signal, _name_of(sender), known), file=sys.__stderr__, flush=True)

    return receive


def connect() -> None:
    for signal in ARGUMENTS.keys() - QUIET:
        getattr(signals, signal).connect(_receiver(signal), weak=False)
