"""Arguments of the wrong type: refused at once and in words, on each store; never as a fault of the store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, Job, Queue, StratixError
from stratix_kombu.errors import Unavailable

WRONG: tuple[Any, ...] = (
    True,
    1.5,
    -1,
    10**30,
    "x",
    "\ud800",
    "x" * 5000,
    b"b",
    [],
    ["a"],
    {},
    {"a": 1},
    (1, 2),
    object(),
    float("nan"),
    float("inf"),
    timedelta(days=10**6),
    timedelta(-1),
    None,
)
WAITS = ("wait_until_finished", "get_events", "hold")


def calls(app: Application, queue: Queue, job: Job) -> list[tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Each with arguments that can be used."""
    locks, manager = app.distributed_lock, app.queue
    return [
        (queue.get_job, ("x",)),
        (queue.get_jobs, ("waiting", 0, 5)),
        (queue.get_metrics, (5,)),
        (queue.get_dead_letters, (0, 5)),
        (queue.get_events, ("", 10, 0)),
        (queue.drain, (False,)),
        (queue.clean, (0, 0, "completed")),
        (queue.retry_jobs, ("failed", 0)),
        (queue.promote_jobs, (1,)),
        (queue.remove_jobs, ("failed", 0)),
        (queue.cancel_jobs, ("delayed", 0)),
        (queue.count_jobs, ("failed", "")),
        (queue.find_jobs, ("failed", "")),
        (queue.get_failure_reasons, ("",)),
        (queue.get_letter_reasons, ("",)),
        (queue.get_schedule_runs, ("k",)),
        (queue.redrive, (0,)),
        (queue.set_rate_limit, (None,)),
        (queue.set_global_concurrency, (None,)),
        (queue.run_repeatable_job, ("k",)),
        (queue.pause_repeatable_job, ("k",)),
        (queue.resume_repeatable_job, ("k",)),
        (queue.remove_repeatable_job, ({"key": "k"},)),
        (queue.upsert_job_scheduler, ("k", {"every": 10**6}, {})),
        (queue.add_repeatable_job, ("n", 1, {"every": 10**6})),
        (queue.add, ("n", 1, {"delay": 10**6})),
        (queue.add_bulk, ([],)),
        (queue.on, ("completed", print)),
        (queue.off, ("completed",)),
        (queue.obliterate, (False,)),
        (job.get_logs, (0, 5)),
        (job.log, ("x",)),
        (job.update_progress, (1,)),
        (job.update_data, (1,)),
        (job.change_delay, (10**6,)),
        (job.change_priority, (5,)),
        (job.add_dependency, ("x",)),
        (job.remove_dependency, ("x",)),
        (job.cancel, ("why",)),
        (job.wait_until_finished, (0.01,)),
        (manager.get_queue, ("q",)),
        (manager.get_job, ("x",)),
        (manager.get_flow, ("x",)),
        (manager.add_flow, ([],)),
        (manager.get_flows, ("", 5)),
        (manager.get_overview, (5,)),
        (manager.emit, ("e", 1)),
        (manager.create_queue, ("made",)),
        (locks.acquire, ("k", 1000)),
        (locks.release, ("k",)),
        (locks.extend, ("k", 1000)),
    ]


def test_arguments_of_the_wrong_type(app: Application) -> None:
    queue = app.queue.get_queue("q")
    odd: list[str] = []
    for index in range(len(calls(app, queue, queue.add("n", delay=10**6)))):
        for place in range(len(calls(app, queue, queue.add("n", delay=10**6))[index][1])):
            job = queue.add("n", delay=10**6)
            function, good = calls(app, queue, job)[index]
            for wrong in WRONG:
                if function.__name__ in WAITS and place == len(good) - 1 and _is_long(wrong):
                    continue
                given = [*good[:place], wrong, *good[place + 1 :]]
                try:
                    function(*given)
                except TypeError as error:
                    if not str(error).endswith(("not iterable", "is not a mapping", "after ** must be a mapping")):
                        odd.append(f"{function.__qualname__}{given!r:.200}: {error!r}")
                except StratixError as error:
                    if isinstance(error, Unavailable):
                        odd.append(f"{function.__qualname__}{given!r:.200}: {error!r}")
                except Exception as error:
                    odd.append(f"{function.__qualname__}{given!r:.200}: {error!r}")
    assert odd == []


def _is_long(wrong: Any) -> bool:
    """Whether it is a time that can be waited."""
    return wrong is None or (isinstance(wrong, (int, float, timedelta)) and wrong is not True and wrong == wrong)


def test_what_is_said(app: Application) -> None:
    queue = app.queue.get_queue("q")
    job = queue.add("n")
    for call, words in (
        (lambda: queue.get_jobs("waiting", "a", 5), "get_jobs: 'start' must be a whole number, not 'a'"),
        (lambda: queue.get_jobs(5), "get_jobs: 'states' must be a state or a list of states, not 5"),
        (lambda: queue.get_events(after="soon"), "'soon' is not a cursor of an event"),
        (lambda: job.wait_until_finished("5"), "must be seconds, a timedelta or None, not '5'"),
        (lambda: job.cancel(None), "cancel: 'reason' must be a text, not None"),
        (lambda: queue.remove_jobs(["x"]), "remove_jobs: 'state' must be a text, not ['x']"),
        (lambda: queue.drain("no"), "drain: 'delayed' must be True or False, not 'no'"),
        (lambda: app.close("soon"), "close: 'timeout' must be seconds"),
        (lambda: app.queue.close_all("soon"), "close_all: 'timeout' must be seconds"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            call()  # type: ignore[no-untyped-call]
        assert words in str(refused.value)
    assert job.get_state() == "waiting"
    assert app.queue.get_queue("q") is queue


def test_a_range_that_is_far_too_long_ends(app: Application) -> None:
    queue = app.queue.get_queue("q")
    jobs = queue.add_bulk([{"name": "n"} for _ in range(3)])
    for start, end in ((0, 10**30), (-(10**30), 10**30), (0, 1_000_000)):
        assert [one.id for one in queue.get_jobs("waiting", start, end)] == [one.id for one in jobs]
    assert queue.get_jobs("waiting", 10**30) == []
