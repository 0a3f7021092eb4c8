"""celery-singleton: the same task with the same arguments is the same one until it has ended."""

from __future__ import annotations

import time
from typing import Any

from celery_singleton import Singleton

from tests.companions.programs import Given, until, wait

given = Given()
app = given.app(singleton_backend_url=given.url, singleton_key_prefix=given.prefix)
given.install(app)


@app.task(name=f"{given.prefix}.held", base=Singleton)
def held(number: int) -> int:
    while not (given.folder / "gate").exists():
        time.sleep(0.02)
    return number


def use() -> Any:
    first, same, other = held.delay(1), held.delay(1), held.delay(2)
    heard = [same.id == first.id, other.id == first.id]
    (given.folder / "gate").touch()
    heard += [wait(one) for one in (first, same, other)]
    until(lambda: held.delay(1).id != first.id)
    return heard


if __name__ == "__main__":
    given.run(app, use)
