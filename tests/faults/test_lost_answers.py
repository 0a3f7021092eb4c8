"""Answers of the store that are lost: nobody notices, and what was asked for is done once. All verbs of
queues and jobs, by a proxy that cuts the connection in the middle of the answer."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from redis import Redis

from stratix_kombu import Application, Job, Queue, RateLimited, StoreUnavailable, create_app
from stratix_kombu.model.metrics import COUNTS
from stratix_kombu.model.record import ANY_CLAIM, KEEP_NONE, Completion, Failure, NewJob, Retention
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import open_redis_store
from stratix_kombu.stores.redis.answers import added_of
from stratix_kombu.stores.redis.scripts import digest, source
from stratix_kombu.testing.stores import audit
from tests.conformance.asked_twice import ONCE
from tests.faults.conftest import WORKER
from tests.faults.proxy import Proxy
from tests.waiting import until


@dataclass
class Lossy:
    """An application whose answers the proxy cuts, and one on the same namespace that reaches the store."""

    proxy: Proxy
    app: Application
    direct: Application

    def lose(self, step: str, times: int = 1) -> None:
        self.proxy.cut_replies_to(digest(step).encode(), keep=1, times=times)


@pytest.fixture(params=["sent by the store", "published"])
def lossy(redis_url: str, request: pytest.FixtureRequest) -> Iterator[Lossy]:
    proxy = Proxy(redis_url)
    with Redis.from_url(redis_url) as server:
        for name in (*ONCE, "add_fresh", "add_task", "take", "claim"):
            server.script_load(source(name))
    worker = {**WORKER, "lease_duration": 30_000}
    common = {"driver": "redis", "namespace": f"lost{uuid.uuid4().hex[:8]}", "worker": worker}
    broker = proxy.url if request.param == "sent by the store" else redis_url
    behind = {**common, "store": proxy.url, "redis": {"url": broker}}
    lossy = Lossy(proxy, create_app(behind), create_app({**common, "redis": {"url": redis_url}}))
    yield lossy
    for app in (lossy.app, lossy.direct):
        app.close()
    proxy.close()


def look(store: Store, name: str) -> Any:
    """What one sees of a queue, without ids and times."""
    queries = store.queries
    records = [one for state in State for one in queries.find(name, [state])]
    said = sorted((one.name, one.data, one.state.value, one.progress, one.failed_reason or "") for one in records)
    events_heard = [one.name for one in store.events.read(name, "0")]
    totals = queries.totals(name)
    return said, events_heard, [getattr(totals, one) for one in COUNTS], queries.status(name).counts


Prepare = Callable[[Queue], Sequence[Job]]
Act = Callable[[Queue, Sequence[Job]], Any]


def nothing(_: Queue) -> Sequence[Job]:
    return ()


def waiting(queue: Queue) -> Sequence[Job]:
    return [queue.add("old", 1)]


def known(queue: Queue) -> Sequence[Job]:
    return [queue.add("old", 1, job_id=f"{queue.name}1")]


def delayed(queue: Queue) -> Sequence[Job]:
    return [queue.add("old", 1, delay=3_600_000)]


def two(queue: Queue) -> Sequence[Job]:
    return [queue.add("first", 1), queue.add("second", 2)]


def dependent(queue: Queue) -> Sequence[Job]:
    first = queue.add("first", 1)
    return [first, queue.add("second", 2, dependencies=[first.id])]


def failed(queue: Queue) -> Sequence[Job]:
    job = queue.add("old", 1)
    queue._engine.store.transitions.fail([Failure(job.id, ANY_CLAIM, "no")])
    return [job]


def letter(queue: Queue) -> Sequence[Job]:
    """A letter of a job of another queue."""
    job = queue.add("x", 1)
    transitions = queue._engine.store.transitions
    transitions.add([NewJob(id=f"{queue.name}1", queue=f"{queue.name}0", name="n", dead_letter=queue.name)])
    transitions.fail([Failure(f"{queue.name}1", ANY_CLAIM, "no")])
    return [job]


def repeated(queue: Queue) -> Sequence[Job]:
    queue.add_repeatable_job("again", every=3_600_000, key="k")
    return ()


VERBS: dict[str, tuple[str, Prepare, Act]] = {
    "add": ("add_fresh", nothing, lambda queue, _: queue.add("new", 1).state),
    "add_with_an_id": ("add", nothing, lambda queue, _: queue.add("new", 1, job_id=f"{queue.name}1").id[1:]),
    "add_a_known_one": ("add", known, lambda queue, _: queue.add("new", 1, job_id=f"{queue.name}1").name),
    "add_with_options": ("add_fresh", nothing, lambda queue, _: queue.add("new", 1, priority=2, attempts=3).state),
    "add_delayed": ("add", nothing, lambda queue, _: queue.add("new", 1, delay=3_600_000).state),
    "add_dependent": ("add", waiting, lambda queue, jobs: queue.add("new", 1, dependencies=[jobs[0].id]).state),
    "add_once": ("add", nothing, lambda queue, _: queue.add("new", 1, deduplication={"id": queue.name}).state),
    "add_bulk": ("add_many", nothing, lambda queue, _: len(queue.add_bulk([{"name": "n"}] * 3))),
    "cancel": ("cancel", waiting, lambda _, jobs: jobs[0].cancel("why")),
    "remove": ("remove", waiting, lambda _, jobs: jobs[0].remove()),
    "retry": ("retry", failed, lambda _, jobs: jobs[0].retry()),
    "promote": ("promote_job", delayed, lambda _, jobs: jobs[0].promote()),
    "change_priority": ("change_priority", delayed, lambda _, jobs: jobs[0].change_priority(3)),
    "change_delay": ("change_delay", delayed, lambda _, jobs: jobs[0].change_delay(7_200_000)),
    "progress": ("update", waiting, lambda _, jobs: jobs[0].update_progress(50)),
    "data": ("update", waiting, lambda _, jobs: jobs[0].update_data(2)),
    "log": ("log", waiting, lambda _, jobs: (jobs[0].log("line"), jobs[0].get_logs())),
    "add_dependency": ("add_dependency", two, lambda _, jobs: jobs[1].add_dependency(jobs[0])),
    "remove_dependency": ("remove_dependency", dependent, lambda _, jobs: jobs[1].remove_dependency(jobs[0])),
    "pause": ("pause", waiting, lambda queue, _: queue.pause()),
    "resume": ("resume", lambda queue: (queue.pause(), ())[1], lambda queue, _: queue.resume()),
    "bound": ("set_bound", waiting, lambda queue, _: queue.set_global_concurrency(3)),
    "drain": ("sweep", waiting, lambda queue, _: queue.drain()),
    "retry_jobs": ("sweep", failed, lambda queue, _: queue.retry_jobs()),
    "promote_jobs": ("sweep", delayed, lambda queue, _: queue.promote_jobs()),
    "remove_chosen": ("each", two, lambda queue, jobs: queue.remove_jobs(ids=jobs)),
    "retry_chosen": ("each", failed, lambda queue, _: queue.retry_jobs(name="old")),
    "cancel_chosen": ("each", two, lambda queue, _: queue.cancel_jobs("waiting")),
    "redrive": ("redrive", letter, lambda queue, _: queue.redrive()),
    "obliterate": ("forget_queue", waiting, lambda queue, _: queue.obliterate()),
    "repeat": ("put_schedule", nothing, lambda queue, _: len(repeated(queue)) + len(queue.get_repeatable_jobs())),
    "remove_repeated": ("put_schedule", repeated, lambda queue, _: queue.remove_repeatable_job(key="k")),
    "note_a_run": (
        "put_schedule",
        repeated,
        lambda queue, _: (queue.run_repeatable_job("k").state, len(queue.get_schedule_runs("k"))),
    ),
    "run_repeated": ("add", repeated, lambda queue, _: queue.run_repeatable_job("k").state),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_whose_answer_was_lost_is_done_once(lossy: Lossy, verb: str) -> None:
    step, prepare, act = VERBS[verb]
    seen, store = [], lossy.direct.queue.engine.store
    for name, app in (("a", lossy.direct), ("b", lossy.app)):
        jobs = prepare(lossy.direct.queue.get_queue(name))
        queue = app.queue.get_queue(name)
        mine = [job for job in (queue.get_job(one.id) for one in jobs) if job is not None]
        if app is lossy.app:
            lossy.lose(step)
        seen.append((act(queue, mine), look(store, name)))
    assert seen[0] == seen[1]
    assert lossy.proxy.cuts == 1
    assert audit(store) == []


def test_locks(lossy: Lossy) -> None:
    locks = lossy.app.distributed_lock
    for step in (lambda: locks.acquire("k", 60_000), lambda: locks.extend("k", 60_000), lambda: locks.release("k")):
        lossy.lose("lock")
        assert step()
    assert lossy.proxy.cuts == 3
    assert lossy.direct.distributed_lock.acquire("k", 60_000)


@pytest.mark.parametrize("times", [1, 2], ids=["sent again", "asked again"])
@pytest.mark.parametrize("step", ["take", "complete", "fail", "hand_back"])
def test_a_worker(lossy: Lossy, step: str, times: int) -> None:
    """It asks again by itself when also what was sent again had no answer. No job is left active until its lease ends;
    the message of one that became ready is sent by the clock, if nobody heard of it."""
    queue, runs, errors = lossy.app.queue.get_queue("q"), list[str](), list[BaseException]()
    queue.on("error", errors.append)

    def handle(job: Job) -> None:
        runs.append(job.id)
        if step == "hand_back" and len(runs) == 1:
            raise RateLimited(1)
        if step == "fail":
            raise ValueError("no")

    queue.process(handle)
    with lossy.app:
        job = lossy.direct.queue.get_queue("q").add("n")
        lossy.lose(step, times)
        lossy.app.start()
        until(lambda: job.refresh().state == ("failed" if step == "fail" else "completed"))
        until(lambda: lossy.proxy.cuts == times)
    assert len(runs) == (2 if step == "hand_back" else 1)
    assert (job.attempts_made, job.attempts_started) == (1, 1)
    assert [type(one) for one in errors] == [StoreUnavailable] * (times - 1)
    events_heard = [one.name for one in lossy.direct.queue.engine.store.events.read("q", "0")]
    assert [events_heard.count(name) for name in ("completed", "failed")] == [step != "fail", step == "fail"]


@pytest.mark.parametrize("times", [1, 2], ids=["sent again", "asked again"])
@pytest.mark.parametrize("lossy", ["sent by the store"], indirect=True)
def test_a_worker_that_goes_on(lossy: Lossy, times: int) -> None:
    """Results that went with a take whose answer was lost are stored once, and what it took runs once."""
    queue, runs, errors = lossy.app.queue.create_queue("q", concurrency=1), list[str](), list[BaseException]()
    queue.on("error", errors.append)
    queue.process(lambda job: runs.append(job.id))
    with lossy.app:
        jobs = lossy.direct.queue.get_queue("q").add_bulk([{"name": "n"}] * 5)
        lossy.lose("complete_and_take", times)
        lossy.app.start()
        until(lambda: lossy.direct.queue.get_queue("q").get_job_counts()["completed"] == 5)
        until(lambda: lossy.proxy.cuts == times)
    assert runs == [one.id for one in jobs]
    assert [(one.refresh().attempts_made, one.attempts_started) for one in jobs] == [(1, 1)] * 5
    assert [type(one) for one in errors] == [StoreUnavailable] * (times - 1)
    events_heard = [one.name for one in lossy.direct.queue.engine.store.events.read("q", "0")]
    assert (events_heard.count("completed"), events_heard.count("active"), events_heard.count("drained")) == (5, 5, 1)


@pytest.mark.parametrize("fate", ["started", "completed", "removed when it completed", "failed", "removed by hand"])
def test_an_add_that_is_executed_again_after_the_job_went_on(redis_url: str, fate: str) -> None:
    """Its first answer was lost while a server hung, say, and the second try comes when others have run the job."""
    store = open_redis_store({"url": redis_url}, namespace=f"lost{uuid.uuid4().hex[:8]}")
    scripts: Any = store._transitions._scripts
    transitions, client, sent = store.transitions, scripts._client, list[tuple[Any, ...]]()
    new = NewJob(id="a", queue="q", name="n", keep_completed=KEEP_NONE if "removed" in fate else Retention())

    class Lossy:
        def run(self, *command: Any, **how: Any) -> Any:
            sent.append(command)
            return client.run(*command, **how)

    scripts._client = Lossy()
    first = transitions.add([new])
    scripts._client = client
    if fate == "removed by hand":
        transitions.remove("a")
    else:
        (claim,) = transitions.claim("q", ["a"], "w", 60_000).claims
        if fate == "failed":
            transitions.fail([Failure("a", claim.token, "no")])
        elif fate != "started":
            transitions.complete([Completion("a", claim.token, "1")])
    before = store.queries.get(["a"]), look(store, "q")
    assert added_of(1, client.run(*sent[-1], again=True)) == first
    assert (store.queries.get(["a"]), look(store, "q")) == before
    store.close()
