"""Worker processes: ``python -m tests.faults.incarnations``.

For each order, a line of JSON on the standard input, a child is forked that is a worker; its pid is printed. It kills
itself at the order's step (none: it lives until SIGTERM), and how it ended is printed if the order says that it is to
be waited for. Forked, because most of a start is the import; nothing is connected before.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import celery.bin.worker  # noqa: F401 - imported before the forks
from celery.worker.request import Request

from stratix_kombu import create_app
from tests.celery.project import make_app
from tests.faults.steps import Death
from tests.faults.work import register_handlers


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _live(order)
        print(json.dumps({"pid": pid}), flush=True)
        if order["wait"]:
            _, status = os.waitpid(pid, 0)
            print(json.dumps({"ended": os.waitstatus_to_exitcode(status)}), flush=True)


def _live(order: dict[str, Any]) -> None:
    with open(os.devnull, "rb") as nothing, open(order["log"], "ab", buffering=0) as log:
        for number, file in enumerate((nothing, log, log)):
            os.dup2(file.fileno(), number)
    faulthandler.register(signal.SIGUSR1)  # for a test that wants to know what the threads wait for
    code = 1
    try:
        death = Death(order["step"], order["nth"])
        {"worker": in_process, "celery": in_celery}[order["host"]](order, death)
        code = 0
    finally:
        os._exit(code)


def in_process(order: dict[str, Any], death: Death) -> None:
    """A worker of ``queue.process``."""
    app = create_app(order["settings"])
    queue = app.queue.create_queue(order["queue"], concurrency=order["concurrency"])
    register_handlers(queue, Path(order["runs"]), death.reached)
    death.watch(app.queue.engine)
    death.watch_receivers(app.queue.engine)
    app.run()


def in_celery(order: dict[str, Any], death: Death) -> None:
    """``celery worker`` with the same handlers."""
    app = make_app(**order["settings"])
    register_handlers(app.stratix.queue.get_queue(order["queue"]), Path(order["runs"]), death.reached)
    bridge = app.stratix_bridge
    death.watch(bridge.engine)
    death.wrap(bridge.claims, "take", before="received")
    death.wrap(Request, "acknowledge", before="acknowledge")
    arguments = ["worker", "-P", "threads", "-c", str(order["concurrency"]), "-l", "INFO", "-n", f"w{os.getpid()}@test"]
    app.worker_main([*arguments, "--without-mingle", "--without-gossip"])


if __name__ == "__main__":
    main()
