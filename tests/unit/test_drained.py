"""Lower queues that begin when a higher one has nothing to do: ``drained``, and handlers that are registered again."""

from __future__ import annotations

import functools
import sys
import threading
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, create_app
from stratix_kombu.model.functions import same_function
from tests.waiting import until


def test_the_documented_pattern_starts_the_lower_queues(app: Application) -> None:
    high, normal, low = (app.queue.create_queue(f"{one}-priority-tasks") for one in ("high", "normal", "low"))
    done: list[str] = []
    errors: list[Any] = []
    app.start()
    low.add("background-task")
    for one in (high, normal, low):
        one.on("error", errors.append)
    high.process(lambda job: done.append(job.name))
    high.on("drained", lambda: normal.process(lambda job: done.append(job.name)))
    normal.on("drained", lambda: low.process(lambda job: done.append(job.name)))
    until(lambda: done == ["background-task"])
    for round_ in (1, 2, 3):
        high.add(f"urgent {round_}").wait_until_finished(timeout=10)
        normal.add(f"regular {round_}").wait_until_finished(timeout=10)
    assert len(done) == 7
    assert errors == []


def test_an_empty_queue_is_drained_once_when_its_worker_comes_up(app: Application) -> None:
    early, late = app.queue.create_queue("early"), app.queue.create_queue("late")
    heard: list[str] = []
    early.on("drained", lambda: heard.append("early"))
    early.process(lambda job: 1)
    app.start()
    late.process(lambda job: 1)
    late.on("drained", lambda: heard.append("late"))
    until(lambda: sorted(heard) == ["early", "late"])
    early.add("n").wait_until_finished(timeout=10)
    until(lambda: heard.count("early") == 2)
    late.on("drained", lambda: heard.append("later still"))
    late.add("n").wait_until_finished(timeout=10)
    until(lambda: "later still" in heard and heard.count("late") == 2)
    assert sorted(heard) == ["early", "early", "late", "late", "later still"]


def test_a_queue_with_work_is_not_drained_when_its_worker_comes_up(app: Application) -> None:
    queue, go_on = app.queue.create_queue("q"), threading.Event()
    heard: list[int] = []
    queue.on("drained", lambda: heard.append(1))
    job = queue.add("n")
    queue.process(lambda job: go_on.wait(10))
    app.start()
    until(lambda: job.get_state() == "active")
    until(lambda: not queue._events._to_look)
    assert heard == []
    go_on.set()
    until(lambda: heard == [1])


def test_a_paused_queue_with_work_is_not_drained(app: Application) -> None:
    queue = app.queue.create_queue("q")
    heard: list[int] = []
    queue.on("drained", lambda: heard.append(1))
    queue.pause()
    queue.add("n")
    queue.process(lambda job: 1)
    app.start()
    until(lambda: not queue._events._to_look)
    queue.resume()
    until(lambda: heard == [1])


def test_other_processes_do_not_hear_of_an_empty_queue(app: Application, settings: dict[str, Any]) -> None:
    queue, heard = app.queue.create_queue("q"), list[int]()
    queue.process(lambda job: 1)
    queue.on("drained", lambda: heard.append(1))
    app.start()
    until(lambda: heard == [1])
    assert [one.name for one in queue.get_events()] == []


def made(value: Any) -> Any:
    return lambda job: value


def test_functions_of_one_line_with_the_same_values_are_one() -> None:
    def recursive() -> Any:
        def work(job: Any) -> Any:
            return work

        return work

    class Handler:
        def run(self, job: Any) -> Any: ...

    one, other = Handler(), Handler()
    assert same_function(*[lambda job: job for _ in range(2)])
    assert same_function(made([1]), made([1]))
    assert same_function(made(made(1)), made(made(1)))
    assert same_function(recursive(), recursive())
    assert same_function(functools.partial(made, 1, key=print), functools.partial(made, 1, key=print))
    assert same_function(one.run, one.run)
    assert not same_function(made(1), made(2))
    assert not same_function(*[lambda job, by=by: job * by for by in range(2)])
    # Python 3.10 keeps no columns, so that equal functions of one line have one code.
    assert same_function(lambda job: job, lambda job: job) is (sys.version_info < (3, 11))
    assert not same_function(functools.partial(made, 1), functools.partial(made, 2))
    assert not same_function(one.run, other.run)
    assert not same_function(made(object()), made(object()))


def test_another_function_of_the_same_line_is_refused() -> None:
    app = create_app({"driver": "memory"})
    queue = app.queue.create_queue("q")
    first = made("first")
    for handler in (first, made("first"), first):
        queue.process("n", handler)
    words = r"queue 'q' already has a different handler for jobs called 'n', and each name has one"
    with pytest.raises(ConfigurationError, match=words):
        queue.process("n", made("second"))
    for name in ("n", "another", None):
        with pytest.raises(ConfigurationError, match=r"queue 'q': a handler of .* must be a function .*, not None"):
            queue.process(name, {}.get(name))
    queue.process(made("second"))
    with pytest.raises(ConfigurationError, match="already has a different handler for all jobs"):
        queue.process(made("third"))
    app.close()
