"""celery-once: a task that waits or runs is not sent again."""

from __future__ import annotations

import time
from typing import Any

from celery_once import AlreadyQueued, QueueOnce

from tests.companions.programs import Given, until, wait

given = Given()
app = given.app()
app.conf.ONCE = {"backend": "celery_once.backends.Redis", "settings": {"url": given.url, "default_timeout": 60}}
given.install(app)


@app.task(name=f"{given.prefix}.held", base=QueueOnce)
def held(number: int) -> int:
    while not (given.folder / "gate").exists():
        time.sleep(0.02)
    return number


@app.task(name=f"{given.prefix}.quiet", base=QueueOnce, once={"graceful": True, "keys": ["number"]})
def quiet(number: int, other: int = 0) -> int:
    return held.run(number) if number else 0


def again(number: int) -> Any:
    try:
        return wait(held.delay(number))
    except AlreadyQueued:
        return "queued already"


def use() -> Any:
    first, other = held.delay(1), quiet.delay(1)
    heard = [again(1), quiet.delay(1, 5).state, quiet.delay(0).state == "REJECTED"]
    (given.folder / "gate").touch()
    heard += [wait(first), wait(other)]
    until(lambda: again(1) == 1)
    return heard


if __name__ == "__main__":
    given.run(app, use)
