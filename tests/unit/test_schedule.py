"""Schedules of a process, and locks."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, WaitTimeout, create_app, schedule_plugin
from stratix_kombu.schedule import interval_ms
from tests.waiting import until


@pytest.fixture
def app() -> Iterator[Application]:
    app = create_app({"driver": "memory", "namespace": f"sch{uuid.uuid4().hex[:8]}"})
    app.register(schedule_plugin)
    with app:
        app.start()
        yield app


def test_functions_run_by_the_clock(app: Application) -> None:
    ran: list[str] = []

    async def later() -> None:
        await asyncio.sleep(0)
        ran.append("async")

    app.schedule.interval(100, lambda: ran.append("plain"))
    app.schedule.cron("* * * * * *", later, timezone="Asia/Shanghai")

    @app.schedule.interval("0.2 s", limit=2)
    def limited() -> None:
        ran.append("limited")

    until(lambda: ran.count("plain") >= 5 and "async" in ran and ran.count("limited") == 2)
    infos = {one.name: one for one in app.schedule.list()}
    assert next(one for name, one in infos.items() if "limited" in name).next_run is None
    assert [one.cron for one in infos.values() if one.cron] == ["* * * * * *"]


def test_a_schedule_is_paused_resumed_and_unregistered(app: Application) -> None:
    ran, witnessed = list[int](), list[int]()
    key = app.schedule.register({"interval": 100, "handler": lambda: ran.append(1), "name": "sync"})
    witness = app.schedule.register({"interval": 100, "handler": lambda: witnessed.append(1), "name": "witness"})

    def pass_slots(number: int) -> None:
        wanted = len(witnessed) + number
        until(lambda: len(witnessed) >= wanted)

    until(lambda: ran)
    app.schedule.pause(key)
    pass_slots(2)  # a run may have begun
    count = len(ran)
    pass_slots(3)
    assert len(ran) == count
    app.schedule.resume(key)
    until(lambda: len(ran) > count)
    assert app.schedule.unregister(key)
    assert not app.schedule.unregister(key)
    assert app.schedule.unregister(witness)
    assert app.schedule.list() == []
    with pytest.raises(ConfigurationError, match="there is no schedule"):
        app.schedule.pause(key)


def test_a_run_that_raises_or_lasts_holds_up_nothing(app: Application) -> None:
    gate = threading.Event()
    ran: list[int] = []

    def broken() -> None:
        raise OSError("broken")

    app.schedule.interval(100, broken, name="broken")
    app.schedule.interval(100, lambda: gate.wait(10), name="slow")
    app.schedule.interval(100, lambda: ran.append(1))
    until(lambda: len(ran) >= 4)
    infos = {one.name: one for one in app.schedule.list()}
    assert infos["broken"].failures >= 2
    assert (infos["slow"].runs, infos["slow"].skipped >= 2) == (1, True)
    gate.set()


def test_one_process_runs_each_slot_of_a_schedule_that_is_to_run_once(redis_url: str) -> None:
    settings = {"driver": "redis", "redis": {"url": redis_url}, "namespace": f"sch{uuid.uuid4().hex[:8]}"}
    ran: list[int] = []
    apps = [create_app(settings) for _ in range(4)]
    for app in apps:
        app.schedule.interval(100, lambda: ran.append(time.time_ns() // 100_000_000), name="shared", once=True)
        app.start()
    until(lambda: len(ran) >= 8)
    for app in apps:
        app.close()
    assert len(set(ran)) >= len(ran) - 1  # a run may be a tenth of a second late
    with pytest.raises(ConfigurationError, match="needs a 'name'"):
        apps[0].schedule.interval(100, print, once=True)


def test_a_limit_counts_the_runs_of_all_processes(redis_url: str) -> None:
    settings = {"driver": "redis", "redis": {"url": redis_url}, "namespace": f"sch{uuid.uuid4().hex[:8]}"}
    ran: list[int] = []
    apps = [create_app(settings) for _ in range(3)]
    for app in apps:
        app.schedule.interval(100, lambda: ran.append(1), name="shared", once=True, limit=6)
        app.schedule.interval(100, lambda: None, name="always", once=True)
    for number, app in enumerate(apps, 1):
        app.start()  # the others have run some already
        until(lambda least=number: len(ran) >= least)  # type: ignore[misc]
    until(lambda: all(app.schedule.list()[0].next_run is None for app in apps))
    until(lambda: sum(app.schedule.list()[0].runs for app in apps) == 6)
    for app in apps:
        app.close()
    assert len(ran) == 6


def test_one_that_has_ended_stays_so(app: Application) -> None:
    ran: list[int] = []
    key = app.schedule.interval(100, lambda: ran.append(1), limit=2)
    until(lambda: len(ran) == 2)
    app.schedule.pause(key)
    app.schedule.resume(key)
    assert app.schedule.list()[0].next_run is None
    later: list[int] = []
    app.schedule.interval(100, lambda: later.append(1))
    until(lambda: len(later) >= 3)
    assert len(ran) == 2


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), KeyboardInterrupt()])
def test_whatever_ends_a_run_early_is_a_failure(app: Application, error: BaseException) -> None:
    def fails() -> None:
        raise error

    async def fails_async() -> None:
        raise error

    app.schedule.interval(100, fails, limit=1)
    app.schedule.interval(100, fails_async, limit=1)
    until(lambda: [(one.runs, one.failures) for one in app.schedule.list()] == [(1, 1), (1, 1)])


def test_closing_waits_for_a_run() -> None:
    ended: list[int] = []

    def slow() -> None:
        time.sleep(0.3)
        ended.append(1)

    with create_app({"driver": "memory"}) as app:
        app.start()
        app.schedule.interval(100, slow)
        until(lambda: app.schedule.list()[0].runs == 1)
    assert ended


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("10 minutes", 600_000),
        ("1 hour", 3_600_000),
        ("1.5 s", 1_500),
        ("2days", 172_800_000),
        ("500ms", 500),
        (250, 250),
        (timedelta(seconds=2), 2_000),
        ("3 Weeks", 1_814_400_000),
    ],
)
def test_intervals(given: Any, expected: int) -> None:
    assert interval_ms(given) == expected


@pytest.mark.parametrize("bad", ["10 minuets", "often", "10", "", "-5 s", None, "9" * 12 + " days", "9" * 5_000 + " s"])
def test_intervals_that_are_none(bad: Any) -> None:
    with pytest.raises(ConfigurationError):
        interval_ms(bad)


def test_options_are_checked(app: Application) -> None:
    with pytest.raises(ConfigurationError, match="'handler' must be a function"):
        app.schedule.register(cron="* * * * *")
    with pytest.raises(ConfigurationError, match="unknown option 'corn'"):
        app.schedule.register(corn="* * * * *", handler=print)
    with pytest.raises(ConfigurationError, match="schedule_plugin has no options"):
        app.register(schedule_plugin, driver="redis")


@pytest.fixture
def locks(settings: dict[str, Any]) -> Iterator[Application]:
    with create_app(settings) as app:
        app.start()
        yield app


def test_a_lock_has_one_owner_at_a_time(locks: Application) -> None:
    lock = locks.distributed_lock.acquire("daily", 30_000)
    assert lock is not None
    assert locks.distributed_lock.acquire("daily", timedelta(seconds=30)) is None
    assert lock.extend(60_000)
    assert lock.release()
    assert not lock.release()
    assert not lock.extend(1000)
    with locks.distributed_lock.acquire("daily", 30_000) as again:  # type: ignore[union-attr]
        assert again.key == "daily"
    assert locks.distributed_lock.acquire("daily", 30_000) is not None
    assert locks.distributed_lock.release("daily")
    assert not locks.distributed_lock.release("daily")


def test_a_lock_ends_by_itself_and_its_first_owner_cannot_free_the_next(locks: Application) -> None:
    first = locks.distributed_lock.acquire("short", 20)
    assert first is not None
    second: list[Any] = []
    until(lambda: second.append(locks.distributed_lock.acquire("short", 30_000)) or second[-1])
    assert not first.release()
    assert locks.distributed_lock.acquire("short", 1) is None
    assert second[-1].release()


def test_holding_waits(locks: Application) -> None:
    lock = locks.distributed_lock.acquire("busy", 30_000)
    assert lock is not None
    with pytest.raises(WaitTimeout, match="by another owner after"), locks.distributed_lock.hold("busy", 1000, 0.1):
        pass
    threading.Timer(0.1, lock.release).start()
    with locks.distributed_lock.hold("busy", 1000, timeout=10) as held:
        assert held.key == "busy"
    for bad in ("", 5):
        with pytest.raises(ConfigurationError, match="key of a lock"):
            locks.distributed_lock.acquire(bad, 1000)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="at least 1 ms"):
        locks.distributed_lock.acquire("x", 0)
