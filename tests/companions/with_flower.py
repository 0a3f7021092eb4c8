"""Flower: what its API reports of tasks and workers, and what it can do with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from celery import chord

from tests.companions.programs import OWN, ROOT, Given, until, wait
from tests.companions.tasks import define
from tests.services import free_port

given = Given()
app = given.app(task_send_sent_event=True, result_extended=True)
given.install(app)


tasks = define(app)
add, total, boom, again = tasks.add, tasks.total, tasks.boom, tasks.again


class Flower:
    """Its API."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/"

    def __call__(self, path: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if body else None
        with urlopen(Request(self._base + path, data=data), timeout=20) as answer:
            return json.loads(answer.read())

    def is_there(self) -> bool:
        with suppress(URLError, OSError):
            return bool(self("workers?refresh=true"))
        return False


@contextmanager
def flower() -> Iterator[Flower]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tests.companions.with_flower", "flower", f"--port={port}"],
        cwd=ROOT,
        env={**os.environ, "FLOWER_UNAUTHENTICATED_API": "true"},
    )
    try:
        api = Flower(port)
        until(api.is_there, 40)
        yield api
    finally:
        process.terminate()
        process.wait(20)


def use() -> Any:
    with flower() as api:

        def hears() -> bool:
            """It may not listen to events yet."""
            add.delay(0, 0)
            return bool(api("tasks"))

        until(hears, 40)
        results = {
            "done": add.delay(1, 2),
            "failed": boom.delay(),
            "tried again": again.delay(),
            "chord": chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async(),
            "delayed": add.apply_async((3, 4), countdown=3600),
            "revoked": add.apply_async((5, 6), countdown=2),
        }
        values = [wait(one) for name, one in results.items() if name not in ("delayed", "revoked")]
        results["revoked"].revoke()
        started = api("task/async-apply/proj.add", args=[20, 3])
        until(lambda: api(f"task/result/{started['task-id']}").get("result") == 23, 20)

        def seen(name: str) -> dict[str, Any]:
            return dict(api(f"task/info/{results[name].id}"))

        until(lambda: seen("revoked")["state"] == "REVOKED", 20)
        until(lambda: seen("chord")["state"] == "SUCCESS" and seen("tried again")["state"] == "SUCCESS", 20)
        heard = {}
        for name in results:
            info = seen(name)
            kept = ("state", "name", "args", "kwargs", "result", "retries", "exchange", "routing_key")
            heard[name] = [info.get(key) for key in kept] + [bool(info.get("eta"))]
            heard[name][heard[name].index(app.conf.task_default_queue)] = "the queue"
        heard["delayed"][0] = ""  # received by a worker, or kept by the store
        worker: dict[str, Any] = {}

        def answers() -> bool:
            (found,) = api(f"workers?refresh=true&workername={given.prefix}@test").values()
            worker.update(found)
            return {"scheduled", "registered", "active_queues"} <= worker.keys()

        until(answers, 30)
        scheduled = [one["request"]["id"] for one in worker["scheduled"]]
        return {
            "values": values,
            "heard": heard,
            "scheduled": results["delayed"].id in scheduled,
            "registered": sorted(one for one in worker["registered"] if not one.startswith(("celery.", "stratix."))),
            "queues": len(worker["active_queues"]),
            "types": sorted(one for one in api("task/types")["task-types"] if one not in OWN),
        }


if __name__ == "__main__":
    given.run(app, use, "-E")
