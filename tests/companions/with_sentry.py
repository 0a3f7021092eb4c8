"""Sentry, initialised before the bridge, after it, or when the worker starts; or its crons."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sentry_sdk
from celery import chain, chord
from celery.beat import Service
from celery.signals import celeryd_init
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

from tests.companions.programs import OWN, Given, until, wait
from tests.companions.tasks import define

given = Given()
order: str = given.said["order"]
app = given.app(beat_schedule={"often": {"task": "proj.add", "schedule": 60.0, "args": (1, 1)}})


class Kept(Transport):
    """Keeps what is sent."""

    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            payload = item.payload.json
            if item.type == "transaction":
                spans = [one for one in payload["spans"] if one["op"].startswith("queue")]
                names = sorted([one["op"], one["description"]] for one in spans if one["description"] not in OWN)
                given.note(["transaction", payload["transaction"], payload["contexts"]["trace"]["trace_id"], names])
            elif item.type == "event":
                given.note(["event", payload["exception"]["values"][-1]["type"], payload["transaction"]])
            elif item.type == "check_in":
                given.note(["check-in", payload["monitor_slug"], payload["status"]])


def begin(**_: Any) -> None:
    crons = CeleryIntegration(monitor_beat_tasks=order == "crons")
    sentry_sdk.init(
        "http://key@localhost/1",
        transport=Kept,
        traces_sample_rate=1.0,
        integrations=[crons],
        auto_enabling_integrations=False,
    )


if order in ("before", "crons"):
    begin()
given.install(app)
if order == "after":
    begin()
if order == "celeryd_init":
    celeryd_init.connect(begin, weak=False)


tasks = define(app)
add, total, boom, again = tasks.add, tasks.total, tasks.boom, tasks.again


def use() -> Any:
    with sentry_sdk.start_transaction(name="producer"):
        results = [
            add.delay(1, 2),
            app.send_task("proj.add", (1, 2)),
            chain(add.s(1, 1), add.s(2)).apply_async(),
            chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async(),
            add.apply_async((1, 2), countdown=0.1),
            again.delay(),
            boom.delay(),
        ]
        values = [wait(one) for one in results]
    until(lambda: len([one for one in given.notes() if one[0] == "transaction" and one[1] not in OWN]) == 12)
    found = [one for one in given.notes() if one[0] == "transaction"]
    return {
        "values": values,
        "traces": len({one[2] for one in found}),
        "transactions": sorted(one[1] for one in found if one[1] not in OWN),
        "spans": sorted(span for one in found for span in one[3]),
        "events": [one for one in given.notes() if one[0] == "event"],
    }


def make_it_due(scheduler: Any) -> None:
    """Sentry does not monitor what comes more often than each minute."""
    if not given.bridge:
        scheduler.schedule["often"].last_run_at -= timedelta(minutes=2)
        return
    schedules = app.stratix_bridge.engine.store.schedules
    (found,) = schedules.all()
    schedules.put(replace(found, rule="sooner", next_ms=found.next_ms - 60_000))


def tick() -> Any:
    """What crons see of a beat."""
    service = Service(app, scheduler_cls="stratix" if given.bridge else None, schedule_filename=str(given.folder / "s"))
    make_it_due(service.scheduler)
    statuses: list[Any] = []
    while not {"in_progress", "ok"} <= set(statuses):
        service.scheduler.tick()
        time.sleep(0.05)
        statuses = [one[2] for one in given.notes() if one[:2] == ["check-in", "often"]]
    service.scheduler.close()
    return sorted(set(statuses))


if __name__ == "__main__":
    given.run(app, tick if order == "crons" else use)
    sys.exit(0)
