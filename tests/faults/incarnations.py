"""One worker after another: ``python -m tests.faults.incarnations '<json order>'``.

For each line on the standard input, ``{"step": ..., "nth": ...}``, a child is forked that is a worker and kills itself
at the step (none: it lives until SIGTERM); its pid is printed, and how it ended. Forked, because most of a start is
the import; nothing is connected before.
"""

from __future__ import annotations

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
    order = json.loads(sys.argv[1])
    live = {"worker": in_process, "celery": in_celery}[order["host"]]
    for line in sys.stdin:
        what = json.loads(line)
        pid = os.fork()
        if pid == 0:
            with open(order["log"], "ab", buffering=0) as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            try:
                live(order, Death(what["step"], what["nth"]))
            finally:
                os._exit(1)
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"ended": os.waitstatus_to_exitcode(status)}), flush=True)


def in_process(order: dict[str, Any], death: Death) -> None:
    """A worker of ``queue.process``."""
    app = create_app(order["settings"])
    queue = app.queue.create_queue(order["queue"], concurrency=4)
    register_handlers(queue, Path(order["runs"]), death.reached)
    death.watch(app.queue.engine)
    death.watch_receivers(app.queue.engine)
    app.run()
    os._exit(0)


def in_celery(order: dict[str, Any], death: Death) -> None:
    """``celery worker`` with the same handlers."""
    app = make_app(**order["project"])
    register_handlers(app.stratix.queue.get_queue(order["queue"]), Path(order["runs"]), death.reached)
    bridge = app.stratix_bridge
    death.watch(bridge.engine)
    death.wrap(bridge.claims, "take", before="received")
    death.wrap(Request, "acknowledge", before="acknowledge")
    app.worker_main(["worker", "-P", "threads", "-c", "4", "--without-mingle", "--without-gossip", "-l", "WARNING"])
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
