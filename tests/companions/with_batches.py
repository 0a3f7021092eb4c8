"""celery-batches: its tasks bring a strategy of their own, so that the bridge leaves them out."""

from __future__ import annotations

from typing import Any

from celery_batches import Batches

from tests.companions.programs import Given, until, wait

given = Given()
app = given.app(worker_prefetch_multiplier=10)
given.install(app, worker={"redelivery_grace": 1000, "stalled_check_interval": 200})


@app.task(name="proj.together", base=Batches, flush_every=100, flush_interval=1)
def together(requests: Any) -> None:
    given.note(sorted(one.args[0] for one in requests))
    for one in requests:
        app.backend.mark_as_done(one.id, one.args[0] * 2, request=one)


@app.task(name="proj.quiet", base=Batches, flush_every=3, flush_interval=5)
def quiet(requests: Any) -> None:
    given.note(sorted(one.args[0] for one in requests))


@app.task(name="proj.add")
def add(x: int, y: int) -> int:
    return x + y


def use() -> Any:
    results = [together.delay(number) for number in range(4)]
    for number in range(10, 13):
        quiet.delay(number)
    values = [wait(one) for one in results]
    until(lambda: sum(map(len, given.notes())) == 7)
    # Whatever the store would send again has come by now.
    values += [wait(add.apply_async((1, 1), countdown=3))]
    return {"values": values, "batches": sorted(one for some in given.notes() for one in some)}


if __name__ == "__main__":
    given.run(app, use)
