"""Adds of the tasks of one event loop: to the store together, and each with its own answer, as if it had been alone."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from stratix_kombu import Application, Closed, Job, Queue, adding
from stratix_kombu.model.record import Added, NewJob
from tests.waiting import until


class Gate:
    """Stands before the store: counts the jobs of each step, and holds them while it is shut."""

    def __init__(self, app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[int] = []
        self.threads: set[str] = set()
        self._opened = threading.Event()
        self._opened.set()
        self._add = app.queue.store.transitions.add
        monkeypatch.setattr(app.queue.store.transitions, "add", self._hold)

    def _hold(self, jobs: Sequence[NewJob]) -> Added:
        self.steps.append(len(jobs))
        self.threads.add(threading.current_thread().name)
        assert self._opened.wait(30)
        return self._add(jobs)

    def shut(self) -> None:
        self._opened.clear()

    def open(self) -> None:
        self._opened.set()

    async def has_seen(self, steps: int) -> None:
        while len(self.steps) < steps:
            await asyncio.sleep(0.001)


@pytest.fixture
def gate(app: Application, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(app, monkeypatch)


@pytest.fixture
def queue(app: Application) -> Queue:
    return app.queue.get_queue("q")


def _added(queue: Queue) -> list[Any]:
    return [job.data for job in queue.get_jobs("waiting")]


MADE_UP = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Call = tuple[tuple[Any, ...], dict[str, Any]]


def _calls(number: int) -> list[Call]:
    """Ten calls, of which some cannot add a job and some find one."""
    return [
        (("n", number), {}),
        (("n", number), {"dependencies": [f"nobody{number}"]}),
        (("n", {"never": {number}}), {}),
        (("n", number), {"job_id": "elsewhere"}),
        (("n", number), {"job_id": f"mine{number}"}),
        (("n", number), {"job_id": f"mine{number}"}),
        (("n", number), {"dependencies": [f"mine{number}"], "job_id": f"later{number}"}),
        (("n", number), {"priorty": 1}),
        (("n", number), {"deduplication": {"id": f"few{number % 4}"}}),
        (("n", number), {"delay": 60_000, "priority": 3}),
    ]


def _shown(outcome: Any, ids: dict[str, str]) -> Any:
    """What can be compared of a job, or of an error; ids that were made up by the order in which they come."""
    if isinstance(outcome, BaseException):
        return type(outcome), MADE_UP.sub("an id", str(outcome))
    made_up = MADE_UP.match(outcome.id)
    name = ids.setdefault(outcome.id, f"id {len(ids)}") if made_up else outcome.id
    return name, outcome.queue_name, outcome.state, outcome.data, outcome.opts


def _one_by_one(add: Callable[..., Job], calls: Sequence[Call]) -> list[Any]:
    outcomes: list[Any] = []
    for args, options in calls:
        try:
            outcomes.append(add(*args, **options))
        except Exception as problem:
            outcomes.append(problem)
    return outcomes


def test_hundreds_of_adds_have_the_answers_they_would_have_alone(app: Application, queue: Queue) -> None:
    app.queue.get_queue("other").add("n", job_id="elsewhere")
    calls = [one for number in range(30) for one in _calls(number)]

    async def main() -> list[Any]:
        return await asyncio.gather(*(queue.aio.add(*a, **o) for a, o in calls), return_exceptions=True)

    ids: dict[str, str] = {}
    together = [_shown(one, ids) for one in asyncio.run(main())]
    there = [(job.data, job.state) for job in queue.get_jobs(["waiting", "delayed", "blocked"])]
    queue.obliterate(force=True)
    ids = {}
    assert together == [_shown(one, ids) for one in _one_by_one(queue.add, calls)]
    assert there == [(job.data, job.state) for job in queue.get_jobs(["waiting", "delayed", "blocked"])]


def test_adds_of_one_turn_are_one_step_in_one_thread_over_all_queues(app: Application, gate: Gate) -> None:
    queues = [app.queue.get_queue(f"q{number}") for number in range(4)]

    async def main() -> list[Job]:
        return await asyncio.gather(*(queues[number % 4].aio.add("n", number) for number in range(200)))

    jobs = asyncio.run(main())
    assert [(job.queue_name, job.data) for job in jobs] == [(f"q{number % 4}", number) for number in range(200)]
    assert gate.steps == [200]
    assert len(gate.threads) == 1
    assert _added(queues[1]) == list(range(1, 200, 4))


def test_what_comes_while_others_are_under_way_goes_together_next_and_in_order(queue: Queue, gate: Gate) -> None:
    async def main() -> None:
        gate.shut()
        tasks = [asyncio.ensure_future(queue.aio.add("n", 0))]
        await gate.has_seen(1)
        for number in range(1, 20):  # each in a turn of its own
            tasks.append(asyncio.ensure_future(queue.aio.add("n", number)))
            await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert gate.steps == [1, 19]
    assert _added(queue) == list(range(20))


def test_a_task_that_adds_alone_waits_for_nobody(queue: Queue, gate: Gate) -> None:
    async def main() -> None:
        for number in range(3):
            await queue.aio.add("n", number)

    asyncio.run(main())
    assert gate.steps == [1, 1, 1]


def test_who_is_cancelled_keeps_no_other_add_from_being_made(queue: Queue, gate: Gate) -> None:
    """One that is under way is made; one that waits still is not."""

    async def main() -> list[Any]:
        gate.shut()
        begun = [asyncio.ensure_future(queue.aio.add("n", f"begun{number}")) for number in range(3)]
        await gate.has_seen(1)
        waiting = [asyncio.ensure_future(queue.aio.add("n", f"waiting{number}")) for number in range(3)]
        await asyncio.sleep(0)
        begun[1].cancel()
        waiting[1].cancel()
        await asyncio.sleep(0)
        gate.open()
        return await asyncio.gather(*begun, *waiting, return_exceptions=True)

    answers = asyncio.run(main())
    cancelled = [isinstance(one, asyncio.CancelledError) for one in answers]
    assert cancelled == [False, True, False, False, True, False]
    assert _added(queue) == ["begun0", "begun1", "begun2", "waiting0", "waiting2"]


def test_a_line_whose_tasks_were_all_cancelled_goes_on(queue: Queue, gate: Gate) -> None:
    async def main() -> None:
        gone = asyncio.ensure_future(queue.aio.add("n", "gone"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await queue.aio.add("n", "there")

    asyncio.run(main())
    assert _added(queue) == ["there"]


def test_loops_of_two_threads_do_not_wait_for_each_other(queue: Queue, gate: Gate) -> None:
    """Each holds the other's first step in the store until it has begun its own."""
    gate.shut()

    def loop(me: int) -> None:
        async def main() -> None:
            for turn in range(5):
                jobs = await asyncio.gather(*(queue.aio.add("n", [me, turn, number]) for number in range(20)))
                assert [job.data for job in jobs] == [[me, turn, number] for number in range(20)]

        asyncio.run(main())

    threads = [threading.Thread(target=loop, args=(me,)) for me in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: len(gate.steps) == 2)
    gate.open()
    for thread in threads:
        thread.join(30)
    for me in range(2):
        mine = [data for data in _added(queue) if data[0] == me]
        assert mine == [[me, turn, number] for turn in range(5) for number in range(20)]


def test_a_loop_that_ends_while_an_add_is_under_way_disturbs_nobody(queue: Queue, gate: Gate) -> None:
    async def give_up() -> None:
        gate.shut()
        task = asyncio.ensure_future(queue.aio.add("n", "given up"))
        await gate.has_seen(1)
        task.cancel()

    asyncio.run(give_up())
    gate.open()
    asyncio.run(_one(queue.aio.add("n", "next")))
    until(lambda: sorted(_added(queue)) == ["given up", "next"])


async def _one(answer: Coroutine[Any, Any, Job]) -> Job:
    return await answer


def test_much_data_goes_in_several_steps(queue: Queue, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "ONE_STEP_BYTES", 1000)
    sizes = [10, 300, 600, 90, 5000, 10, 990, 2]

    async def main() -> list[Job]:
        return await asyncio.gather(*(queue.aio.add("n", "x" * (size - 2)) for size in sizes))

    assert [len(job.data) + 2 for job in asyncio.run(main())] == sizes
    assert gate.steps == [4, 1, 2, 1]
    assert [len(data) + 2 for data in _added(queue)] == sizes


def test_adds_that_wait_when_their_queue_is_closed_say_so(app: Application, queue: Queue, gate: Gate) -> None:
    other = app.queue.get_queue("other")

    async def main() -> list[Any]:
        gate.shut()
        begun = asyncio.ensure_future(queue.aio.add("n", "begun"))
        await gate.has_seen(1)
        waiting = [asyncio.ensure_future(one.aio.add("n", "waits")) for one in (queue, other)]
        await asyncio.sleep(0)
        queue.close()
        gate.open()
        return await asyncio.gather(begun, *waiting, return_exceptions=True)

    begun, late, there = asyncio.run(main())
    assert (begun.data, there.data) == ("begun", "waits")
    assert isinstance(late, Closed)


def test_a_fault_that_nobody_expected_reaches_every_task(
    app: Application, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(jobs: Sequence[NewJob]) -> Added:
        raise LookupError("broken")

    monkeypatch.setattr(app.queue.store.transitions, "add", breaks)

    async def main() -> list[Any]:
        return await asyncio.gather(*(queue.aio.add("n", number) for number in range(3)), return_exceptions=True)

    assert [type(one) for one in asyncio.run(main())] == [LookupError] * 3


class Odd(dict[str, int]):
    def items(self) -> Any:
        raise StopIteration


def test_an_error_that_no_future_takes_holds_up_no_other_add(queue: Queue) -> None:
    async def main() -> list[Any]:
        return await asyncio.gather(*(queue.aio.add("n", one) for one in (1, Odd(a=1), 2)), return_exceptions=True)

    before, odd, after = asyncio.run(main())
    assert (before.data, after.data) == (1, 2)
    assert isinstance(odd, RuntimeError)
