"""What a project hears of its tasks in our own worker, beside Celery's with processes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.celery.beside import WAIT_S, Beside, Side, beside, outcome, value
from tests.celery.conftest import lines
from tests.celery.test_beside_events import listening
from tests.waiting import until


@pytest.fixture(scope="module")
def pair(redis_url: str) -> Iterator[Beside]:
    conf = {"worker_send_task_events": True, "imports": ["tests.celery.told"], "task_track_started": True}
    with beside(redis_url, redis_url, "prefork", 2, bridged="own", **conf) as both:
        yield both


def told(side: Side, about: str, count: int = 1) -> list[str]:
    """What was told of a task, once it has been told so often."""

    def found() -> list[str]:
        return [line for line in side.log().splitlines() if line.startswith("told ") and about in line]

    until(lambda: len(found()) >= count, WAIT_S)
    return found()


def test_a_request_that_is_received(pair: Beside) -> None:
    def script(side: Side) -> Any:
        options = {"countdown": 0.2, "expires": 60, "time_limit": 50, "soft_time_limit": 40}
        assert value(side.task("add").apply_async((1, 2), **options)) == 3
        assert value(side.app.send_task("proj.same", (1,), {"more": [2]})) == 1
        return told(side, "received proj.add:") + told(side, "received proj.same:")

    assert "'Request', 'datetime', 'datetime', 'bytes'" in pair.both(script)[0]


def test_a_task_that_rejects_itself(pair: Beside) -> None:
    def script(side: Side) -> Any:
        results = {
            name: side.task(name).delay(str(side.folder / name), False) for name in ("reject", "outside_rejects")
        }
        return [(value(one), one.state, told(side, f"failure of proj.{name}:")) for name, one in results.items()]

    pair.both(script)


def test_a_task_that_is_terminated(pair: Beside) -> None:
    def script(side: Side) -> Any:
        notes = side.folder / "busy"
        result = side.task("busy").delay(str(notes))
        until(lambda: notes.exists() and lines(str(notes)) == ["began"], WAIT_S)
        result.revoke(terminate=True)
        return value(result), told(side, "revoked proj.busy:")

    assert "True <Signals.SIGTERM: 15> False proj.busy" in pair.both(script)[1][0]


@pytest.mark.parametrize("zone", [None, timezone.utc])
def test_a_time_is_told_as_it_was_given(pair: Beside, zone: timezone | None) -> None:
    due = datetime(2020, 1, 2, 3, 4, 5, tzinfo=zone)
    assert pair.both(lambda side: value(side.task("seen").apply_async(eta=due))["eta"]) == due.isoformat()


def test_a_countdown_into_the_past(pair: Beside) -> None:
    """It runs at once, and its request has the time, as with Celery; too far into the past is refused."""

    def script(side: Side) -> Any:
        due = datetime.fromisoformat(value(side.task("seen").apply_async(countdown=-3600))["eta"])
        ago = (datetime.now(timezone.utc) - due).total_seconds()
        return round(ago / 1800), outcome(lambda: side.task("seen").apply_async(countdown=-(2**31) - 1))

    assert pair.both(script) == (2, "builtins.ValueError: countdown is out of range: -2147483649")


@pytest.mark.parametrize("limit", [1, 0.5])
def test_the_error_of_a_task_that_exceeds_its_time(pair: Beside, limit: float) -> None:
    def script(side: Side) -> Any:
        return value(side.task("busy").apply_async((str(side.folder / f"{limit} s"),), time_limit=limit))

    assert pair.both(script).endswith(f"TimeLimitExceeded({limit},)")


def test_a_task_that_nobody_knows(pair: Beside) -> None:
    def script(side: Side) -> Any:
        return value(side.app.send_task("proj.no_such", (1, 2))), told(side, "unknown proj.no_such:")

    pair.both(script)


@pytest.mark.parametrize("name", ["proj.same", "proj.sleeps"])
@pytest.mark.parametrize("bridged", [True, False])
def test_a_task_whose_content_is_refused(pair: Beside, name: str, bridged: bool) -> None:
    """Whether its producer has the bridge or not, and whatever runs it."""

    def script(side: Side) -> Any:
        app = side.app if bridged else side.project.make(bridge=False)
        before = side.log().count("Received invalid task message: Refusing to deserialize")
        seen = len([line for line in side.log().splitlines() if line.startswith(f"told rejected {name}")])
        result = app.send_task(name, ("x",), serializer="pickle")
        heard = told(side, f"rejected {name}:", seen + 1)
        assert value(side.task("add").delay(1, 1)) == 2
        assert side.log().count("Received invalid task message: Refusing to deserialize") == before + 1
        if bridged and side.name == "bridge":
            until(lambda: result.state == "FAILURE", WAIT_S)
            assert repr(result.result).startswith("ContentDisallowed('Refusing to deserialize")
        else:
            assert result.state == "PENDING"
        return heard[-1]

    assert "ContentDisallowed" in pair.both(script)


@pytest.mark.parametrize(("name", "args"), [("exits", (3,)), ("exits", ("text",)), ("exits_late", ())])
def test_a_task_that_exits(pair: Beside, name: str, args: tuple[Any, ...]) -> None:
    """It has failed at once, and its errbacks are called."""

    def script(side: Side) -> Any:
        notes = str(side.folder / f"{name} {args}")
        Path(notes).touch()
        errback = side.task("on_error_id").s(notes)
        result = side.app.send_task(f"told.{name}", args, task_id=side.new_id(), link_error=errback)
        until(lambda: result.state == "FAILURE", 5)
        until(lambda: lines(notes) != [], WAIT_S)
        known = [line.replace(result.id, "its id") for line in lines(notes)]
        return value(result), known, told(side, f"failure of told.{name}:")[-1]

    assert "WorkerLostError: Worker exited prematurely" in pair.both(script)[0]


def test_events(pair: Beside) -> None:
    expected = {"reject": 3, "busy": 3, "no_such": 1, "exits": 3}

    def script(side: Side) -> Any:
        with listening(side) as heard:
            notes = side.folder / "busy again"
            results = {
                "reject": side.task("reject").delay(str(side.folder / "reject again"), False),
                "no_such": side.app.send_task("proj.no_such"),
                "exits": side.app.send_task("told.exits", ()),
                "busy": side.task("busy").delay(str(notes)),
            }
            until(lambda: notes.exists() and lines(str(notes)) == ["began"], WAIT_S)
            results["busy"].revoke(terminate=True)
            until(lambda: all(len(heard[one.id]) >= expected[name] for name, one in results.items()), WAIT_S)
            found = {name: sorted(heard[one.id], key=lambda event: event["type"]) for name, one in results.items()}
        known = ["type", "signum", "terminated", "requeue"]
        error = {name: ["exception"] * (name != "exits") for name in found}  # of a process it is another error's
        return {name: [[one.get(key) for key in known + error[name]] for one in found[name]] for name in found}

    pair.both(script)


def test_events_say_why_a_task_has_failed_and_when_it_was_to_run(pair: Beside) -> None:
    def script(side: Side) -> Any:
        with listening(side) as heard:
            boom, again = side.task("boom").delay(), side.task("flaky").delay("x")
            until(lambda: len(heard[boom.id]) >= 3 and len(heard[again.id]) >= 6, WAIT_S)
            found = [event for one in (boom, again) for event in heard[one.id]]
        told = [one for one in found if one["type"] in ("task-failed", "task-retried")]
        received = [bool(one["eta"]) for one in found if one["type"] == "task-received"]
        return [(one["exception"], "Traceback" in one["traceback"]) for one in told], received

    assert all(has_traceback for _, has_traceback in pair.both(script)[0])
