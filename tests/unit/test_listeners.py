"""Listeners, while the store hiccups, while they are behind, and while others of them misbehave."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any

import pytest

from stratix_kombu import Application, EventsMissed, InvalidPayload, Job, PayloadTooLarge, StoreUnavailable
from stratix_kombu.model.event import INLINE_RESULT_BYTES
from stratix_kombu.model.record import Completion
from stratix_kombu.queue import listeners, log_thread
from stratix_kombu.queue.events import QueueEvents
from stratix_kombu.queue.log_thread import thread_of
from stratix_kombu.stores.contract import EventLog, Queries
from tests.waiting import until


def hiccup(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Every other call fails, as when the store is unreachable for a moment."""
    method, calls = getattr(owner, name), itertools.count()

    def sometimes(*args: Any, **kwargs: Any) -> Any:
        if next(calls) % 2:
            raise StoreUnavailable("redis://there", "gone for a moment")
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, sometimes)


def test_a_store_that_hiccups_loses_nothing(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, log, queries = app.queue.get_queue("q"), app.queue.store.events, app.queue.store.queries
    assert isinstance(log, EventLog)
    assert isinstance(queries, Queries)
    events_heard: list[tuple[str, Any]] = []
    queue.on("progress", lambda job, value: events_heard.append(("progress", value)))
    queue.on("completed", lambda job, result: events_heard.append(("completed", result)))
    app.queue.on("mine", lambda n: events_heard.append(("mine", n)))
    jobs = queue.add_bulk([{"name": "n"} for _ in range(5)])
    hiccup(monkeypatch, thread_of(log)._reader, "read")
    hiccup(monkeypatch, queries, "get")
    for n in range(60):
        app.queue.store.transitions.progress(jobs[n % 5].id, str(n))
        app.queue.emit("mine", n)
    for job in jobs:
        (claim,) = app.queue.store.transitions.claim("q", [job.id], "w", 60_000).claims
        app.queue.store.transitions.complete([Completion(job.id, claim.token, "1")])
    until(lambda: len(events_heard) == 125, 60)
    for name, count in (("progress", 60), ("mine", 60)):
        assert [value for event, value in events_heard if event == name] == list(range(count))


def test_a_log_has_as_many_followers_as_there_are(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's results follow the log of a queue beside its own listeners."""
    monkeypatch.setattr(log_thread, "LEAST_AT_ONCE", 2)
    monkeypatch.setattr(log_thread, "READ_AT_ONCE", 2)
    queue, engine = app.queue.get_queue("q"), app.queue.engine
    hubs = [QueueEvents(engine, "q") for _ in range(2)]
    events_heard: list[list[str]] = [[], [], []]
    queue.on("waiting", lambda job: events_heard[0].append(job.name))
    for number, hub in enumerate(hubs, 1):
        hub.on("waiting", lambda job, number=number: events_heard[number].append(job.name))
        queue.add(f"after {number}")
    until(lambda: [len(names) for names in events_heard] == [2, 2, 1])
    queue.add_bulk([{"name": str(number)} for number in range(7)])
    until(lambda: [len(names) for names in events_heard] == [9, 9, 8])
    assert events_heard[0] == events_heard[1] == ["after 1", *events_heard[2]]
    queue.off("waiting")
    hubs[0].close()
    queue.add("last")
    until(lambda: events_heard[2][-1] == "last")
    assert len(events_heard[0]) == len(events_heard[1]) == 9
    hubs[1].close()


def test_a_job_that_cannot_be_read_costs_its_own_events_only(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, queries = app.queue.get_queue("q"), app.queue.store.queries
    events_heard: list[str] = []
    queue.on("waiting", lambda job: events_heard.append(job.name))
    method = queries.get

    def get(ids: Any) -> Any:
        found = method(ids)
        if any(one and one.name == "bad" for one in found):
            raise InvalidPayload("spoilt")
        return found

    monkeypatch.setattr(queries, "get", get)
    queue.add_bulk([{"name": name} for name in ("a", "bad", "b")])
    until(lambda: events_heard == ["a", "b"])


def _fall_behind(app: Application, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A job is waited for and completes; what its ``count`` values of progress do not leave in the log is not read."""
    queue, store = app.queue.get_queue("q"), app.queue.store
    job = queue.add("n")
    ended: list[Any] = []
    job._hub.subscribe(job.id, ended.append)
    reader = thread_of(store.events)._reader
    gate, read = threading.Event(), reader.read

    def later(*args: Any, **kwargs: Any) -> Any:
        gate.wait(120)
        return read(*args, **kwargs)

    monkeypatch.setattr(reader, "read", later)
    (claim,) = store.transitions.claim("q", [job.id], "w", 60_000).claims
    store.transitions.complete([Completion(job.id, claim.token, "1")])
    for n in range(count):
        store.transitions.progress(job.id, str(n))
    gate.set()
    until(lambda: ended)


def test_a_listener_further_behind_than_the_log_keeps_hears_of_the_gap(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, count = app.queue.get_queue("q"), 11_000
    events_heard: list[int] = []
    missed: list[Any] = []
    queue.on("progress", lambda job, value: events_heard.append(value))
    queue.on("error", missed.append)
    _fall_behind(app, monkeypatch, count)
    until(lambda: events_heard and events_heard[-1] == count - 1, 60)
    (error,) = missed
    assert isinstance(error, EventsMissed)
    # What the reader had begun to read when the log was held up was heard: a few at most, the first ones among them.
    lost = count - len(events_heard)
    assert 0 <= error.count - lost <= 4, "besides these: waiting, active, completed, drained"
    assert lost > 0
    assert queue.get_events(limit=1)[0].missed >= error.count


def test_where_nobody_listens_nothing_is_missed(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is read for whoever waits for a job, and its record says how it ended."""
    queue, log = app.queue.get_queue("q"), app.queue.store.events
    errors: list[Any] = []
    queue.on("error", errors.append)
    _fall_behind(app, monkeypatch, 11_000)
    until(lambda: [cursor for _, cursor in thread_of(log)._followed.values()] == [log.tail("q")])
    assert not errors


@pytest.mark.parametrize("fault", ["raises", "exits", "is cancelled", "hangs", "hangs in a coroutine"])
def test_a_listener_costs_only_itself(app: Application, fault: str) -> None:
    queue, gate = app.queue.get_queue("q"), threading.Event()
    calls: list[str] = []

    def plain(job: Job) -> None:
        calls.append(job.id)
        if fault == "raises":
            raise ValueError("no")
        if fault == "exits":
            raise SystemExit(3)
        gate.wait(120)

    async def coroutine(job: Job) -> None:
        calls.append(job.id)
        if fault == "is cancelled":
            raise asyncio.CancelledError
        while not gate.is_set():
            await asyncio.sleep(0.01)

    events_heard: list[str] = []
    queue.on("waiting", coroutine if fault in ("is cancelled", "hangs in a coroutine") else plain)
    queue.on("waiting", lambda job: events_heard.append(job.id))
    jobs = queue.add_bulk([{"name": "n"} for _ in range(20)])
    until(lambda: events_heard == [one.id for one in jobs])
    until(lambda: calls == ([jobs[0].id] if "hangs" in fault else events_heard))
    gate.set()


def test_a_listener_that_is_too_slow_hears_how_many_it_missed(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "LISTENER_BACKLOG", 5)
    queue, gate = app.queue.get_queue("q"), threading.Event()
    slow: list[str] = []
    quick: list[str] = []
    missed: list[Any] = []

    def hang(job: Job) -> None:
        gate.wait(120)
        slow.append(job.id)

    queue.on("waiting", hang)
    queue.on("error", missed.append)
    monkeypatch.setattr(listeners, "LISTENER_BACKLOG", 1000)
    queue.on("waiting", lambda job: quick.append(job.id))
    queue.add_bulk([{"name": "n"} for _ in range(30)])
    until(lambda: len(quick) == 30)
    gate.set()
    until(lambda: missed)  # no other event comes
    until(lambda: len(slow) + missed[0].count == 30)
    assert (type(missed[0]), missed[0].event) == (EventsMissed, "waiting")


def test_the_data_of_an_own_event_is_bounded(app: Application) -> None:
    events_heard: list[str] = []
    app.queue.on("mine", events_heard.append)
    fits = "x" * (INLINE_RESULT_BYTES - 4)
    app.queue.emit("mine", fits)
    with pytest.raises(PayloadTooLarge, match=r"store it elsewhere and pass a reference$"):
        app.queue.emit("mine", fits + "x")
    until(lambda: events_heard == [fits])


def test_long_values_are_read_from_the_record(app: Application) -> None:
    queue, events_heard = app.queue.get_queue("q"), list[tuple[str, Any]]()
    long = "x" * INLINE_RESULT_BYTES

    def work(job: Job) -> str:
        job.update_progress({"so far": long})
        return long

    queue.process(work)
    queue.on("progress", lambda job, value: events_heard.append(("progress", value)))
    queue.on("completed", lambda job, value: events_heard.append(("completed", value)))
    queue.add("kept")
    until(lambda: sorted(events_heard, key=str) == [("completed", long), ("progress", {"so far": long})])
    queue.add("gone", remove_on_complete=True)
    until(lambda: events_heard.count(("completed", long)) == 2)
