"""Workers: https://docs.celeryq.dev/en/stable/userguide/workers.html"""

from __future__ import annotations

import time
from typing import Any

from tests.celery.beside import Side, value
from tests.celery.conftest import lines
from tests.celery.documented.conftest import Trial
from tests.celery.documented.statements import Page, Statement, kind
from tests.waiting import WAIT_S, until

PAGE = Page()
CONF: dict[str, Any] = {"worker_prefetch_multiplier": 2}
REMOTE = "redis|rabbitmq"


def asked(side: Side, what: str, *args: Any) -> Any:
    """The answer of this side's worker to an inspection."""
    found: list[Any] = []

    def answers() -> bool:
        replies = getattr(side.app.control.inspect([side.worker], timeout=2), what)(*args)
        found[:] = [replies] if replies else []
        return bool(replies)

    until(answers, WAIT_S)
    return found[0][side.worker]


def told(side: Side, command: str, *args: Any, **arguments: Any) -> Any:
    """The worker's reply to a command."""
    replies = getattr(side.app.control, command)(
        *args, **arguments, reply=True, timeout=WAIT_S, destination=[side.worker]
    )
    return replies[0][side.worker]


def running(side: Side, name: str, number: int = 1) -> tuple[Any, list[Any]]:
    """A gate, and tasks that wait for it and run."""
    gate, seen = side.folder / f"gate of {name}", side.folder / f"seen of {name}"
    seen.touch()
    results = [side.task("wait_for").delay(str(gate), str(seen)) for _ in range(number)]
    until(lambda: len(lines(str(seen))) == min(number, 4), WAIT_S)
    return gate, results


@PAGE.says("The workers reply with the string 'pong', and that's just about it", {"ok": "pong"}, on=REMOTE)
def ping(side: Side) -> Any:
    return asked(side, "ping")


@PAGE.says("You can get a list of tasks registered in the worker", [True, True], on=REMOTE)
def registered(side: Side) -> Any:
    names = asked(side, "registered")
    return ["proj.add" in names, "proj.steps" in names]


@PAGE.says("You can get a list of active tasks", [["proj.wait_for", True, True]], on=REMOTE)
def active(side: Side) -> Any:
    gate, (result,) = running(side, "active")
    found = asked(side, "active")
    gate.touch()
    value(result)
    return [[one["name"], one["id"] == result.id, one["hostname"] == side.worker] for one in found]


@PAGE.says("Reserved tasks are tasks that have been received, but are still waiting to be executed", True, on=REMOTE)
def reserved(side: Side) -> Any:
    gate, results = running(side, "reserved", 6)
    ids = {one.id for one in results}
    until(lambda: len({one["id"] for one in asked(side, "reserved")} & ids) >= 2, WAIT_S)
    gate.touch()
    return [value(one) for one in results] == ["done"] * 6


@PAGE.says(
    "Any worker having a task in this set of ids … will respond with status and information", "active", on=REMOTE
)
def queried(side: Side) -> Any:
    gate, (result,) = running(side, "queried")
    state, about = asked(side, "query_task", result.id)[result.id]
    gate.touch()
    value(result)
    return state if about["name"] == "proj.wait_for" else about


@PAGE.says("useful (or not so useful) statistics about the worker", [4, True, True], on=REMOTE)
def statistics(side: Side) -> Any:
    value(side.task("add").delay(1, 1))
    # The result of a child may come before word of its start.
    until(lambda: "proj.add" in asked(side, "stats")["total"], WAIT_S)
    found = asked(side, "stats")
    return [found["pool"]["max-concurrency"], found["total"]["proj.add"] >= 1, found["pid"] > 0]


@PAGE.says("You can get a list of queues that a worker consumes from", 1, on=REMOTE)
def active_queues(side: Side) -> Any:
    return len([one for one in asked(side, "active_queues") if one["name"] == side.app.conf.task_default_queue])


@PAGE.says("start consuming from a queue. This operation is idempotent", ["done there", True, True], on=REMOTE)
def consumers(side: Side) -> Any:
    name = f"{side.project.prefix}foo"
    first, again = told(side, "add_consumer", name), told(side, "add_consumer", name)
    answer = value(side.task("same").apply_async(("done there",), queue=name))
    stopped = told(side, "cancel_consumer", name)
    known = "ok" in first and again == first
    return [answer, known, f"no longer consuming from {name}" in str(stopped)]


@PAGE.says("If terminate is set the worker child process processing the task will be terminated", True, on="prefork")
def terminated(side: Side) -> Any:
    _, (result,) = running(side, "terminated")
    result.revoke(terminate=True, signal="SIGKILL")
    return kind(result) == "TaskRevokedError" and value(side.task("add").delay(1, 1)) == 2


@PAGE.says("won't terminate an already executing task unless the terminate option is set", "done", on=REMOTE)
def revoked_while_it_runs(side: Side) -> Any:
    gate, (result,) = running(side, "revoked")
    # Of its worker alone: another one that runs Celery's own code may write REVOKED over the result as it comes.
    side.app.control.revoke(result.id, destination=[side.worker])
    until(lambda: f"{result.id}" in str(asked(side, "revoked")), WAIT_S)
    gate.touch()
    until(lambda: side.app.AsyncResult(result.id).state == "SUCCESS", WAIT_S)
    return side.app.AsyncResult(result.id).result


@PAGE.says("The revoke method also accepts a list argument", [["TaskRevokedError", "REVOKED"]] * 2, on=REMOTE)
def revoked_together(side: Side) -> Any:
    results = [side.task("add").apply_async((1, 1), countdown=3600) for _ in range(2)]
    side.app.control.revoke([one.id for one in results])
    return [[kind(one), one.state] for one in results]


@PAGE.says("each task that has a stamped header matching the key-value pair(s) will be revoked", True, on=REMOTE)
def revoked_by_stamps(side: Side) -> Any:
    own = side.new_id()
    told(side, "revoke_by_stamped_headers", {"mark": [own]})
    stamped = side.task("add").si(1, 1)
    stamped.stamp(mark=own)
    return kind(stamped.apply_async()) == "TaskRevokedError"


@PAGE.says("Only tasks that starts executing after the time limit change will be affected", True, on="redis-prefork")
def time_limits(side: Side) -> Any:
    return told(side, "time_limit", "proj.softly", soft=60, hard=120) == {"ok": "time limits set successfully"}


@PAGE.says("the task can catch to clean up before the hard time limit kills it", "cleaned up", on="prefork")
def soft_limits(side: Side) -> Any:
    return value(side.task("cleans_up").delay())


@PAGE.says("app.control.rate_limit('myapp.mytask', '200/m')", ["new rate limit set successfully", True], on=REMOTE)
def rate_limits(side: Side) -> Any:
    reply = told(side, "rate_limit", "proj.subtract", "5/s")
    begun = time.monotonic()
    for one in [side.task("subtract").delay(2, 1) for _ in range(3)]:
        value(one)
    took = time.monotonic() - begun
    told(side, "rate_limit", "proj.subtract", 0)
    return [reply["ok"], took > 0.3]


@PAGE.says("change the pool: grow and shrink", [True, True], on="redis-prefork|rabbitmq-prefork")
def pools(side: Side) -> Any:
    return ["ok" in told(side, "pool_grow", 1), "ok" in told(side, "pool_shrink", 1)]


@PAGE.says("You can enable/disable events", [True, True], on=REMOTE)
def events(side: Side) -> Any:
    return ["ok" in told(side, "enable_events"), "ok" in told(side, "disable_events")]


@PAGE.says("When a worker receives a revoke request it will skip executing the task", "REVOKED", on="redis")
def skipped(side: Side) -> Any:
    result = side.task("add").apply_async((1, 1), countdown=3600)
    result.revoke()
    until(lambda: side.app.AsyncResult(result.id).state == "REVOKED", WAIT_S)
    return side.app.AsyncResult(result.id).state


@PAGE.tried_on("redis-prefork", "rabbitmq-threads")
def test_page(trial: Trial, host: str, statement: Statement) -> None:
    trial(host, statement)
