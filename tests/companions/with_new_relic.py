"""New Relic's agent, which puts its own in front of methods of Celery's classes when those are imported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.companions.programs import Given, wait

given = Given()
settings = Path(given.folder) / "newrelic.ini"
settings.write_text("[newrelic]\ndeveloper_mode = true\napp_name = proj\nlog_level = critical\n")
os.environ["NEW_RELIC_STARTUP_TIMEOUT"] = "10"

import newrelic.agent  # noqa: E402

newrelic.agent.initialize(str(settings))
agent = newrelic.agent.register_application()

from celery import chain, chord  # noqa: E402

app = given.app()
given.install(app)


def trace() -> Any:
    return newrelic.agent.current_trace_id()


@app.task(name="proj.first")
def first(*_: Any) -> Any:
    return [trace()]


@app.task(name="proj.next_one")
def next_one(seen: Any) -> Any:
    return [*seen, trace()]


@app.task(name="proj.joined")
def joined(seen: Any) -> Any:
    return [one for some in seen for one in some] + [trace()]


def use() -> Any:
    with newrelic.agent.BackgroundTask(agent, "producer"):
        mine = trace()
        results = {
            "task": first.delay(),
            "by name": app.send_task("proj.first"),
            "chain": chain(first.s(), next_one.s()).apply_async(),
            "chord": chord([first.s(), first.s()], joined.s()).apply_async(),
        }
        seen = {name: wait(one) for name, one in results.items()}
    assert mine
    return {name: [one == mine for one in traces] for name, traces in seen.items()}


if __name__ == "__main__":
    given.run(app, use)
