"""``store copy``: all jobs of a store go to another one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu.lifecycle.copying import Copy
from stratix_kombu.model.record import Completion, Failure, Limit, NewJob, Retention, Schedule, WorkerInfo
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import KeptJob, Store
from stratix_kombu.stores.registry import open_store
from tests.cli.conftest import call

MANY = 230


class Pair:
    """A store with jobs, and an empty one, of one namespace."""

    def __init__(self, source: str, target: str) -> None:
        self.urls = [source, target]
        self.namespace = f"copy{uuid.uuid4().hex[:8]}"
        self.source, self.target = (open_store(url, namespace=self.namespace) for url in self.urls)

    def copy(self, code: int = 0) -> str:
        done = call("store", "copy", *self.urls, "--namespace", self.namespace, "--yes")
        assert done.exit_code == code, done.output
        return str(done.output)


@pytest.fixture(
    params=["sqlite to redis", "redis to sqlite", "sqlite to sqlite", "sqlite to postgres", "postgres to redis"]
)
def pair(request: pytest.FixtureRequest, redis_url: str, postgres_url: str, tmp_path: Path) -> Iterator[Pair]:
    urls = {
        "sqlite": f"sqlite:///{tmp_path}/old.db?synchronous=off",
        "redis": redis_url,
        "postgres": f"{postgres_url}?migrate=auto",
    }
    source, target = request.param.split(" to ")
    pair = Pair(urls[source], urls[target].replace("old", "new"))
    yield pair
    pair.source.close()
    pair.target.close()


def _new(job_id: str, queue: str = "mail", **fields: Any) -> NewJob:
    return NewJob(id=job_id, queue=queue, name="send", **fields)


def _fill(store: Store) -> None:
    """Jobs of each state, one that waits for a removed one's result, a dead letter, a schedule."""
    steps = store.transitions
    steps.add([_new(f"w{n:03}", priority=n % 2) for n in range(MANY)])
    steps.add([_new("late", delay_ms=3_600_000), _new("first", queue="other", keep_completed=Retention(count=0))])
    steps.add([_new("second", queue="other", dependencies=("first", "w000"))])
    steps.add([_new("dies", queue="other", dead_letter="dead")])
    (first, dies) = steps.claim("other", ["first", "dies"], "w", 60_000).claims
    steps.complete([Completion("first", first.token, '"its result"')])
    steps.log("dies", "a line", 10)
    steps.fail([Failure("dies", dies.token, "broken")])
    steps.pause("other")
    steps.set_limit("mail", Limit("mail", 5, 1_000))
    steps.set_global_concurrency("mail", 3)
    store.schedules.put(
        Schedule(key="nightly", queue="mail", name="n", rule="{}", template="{}", next_ms=9, runs=3, paused=True)
    )


def _order(store: Store) -> list[str]:
    return [one.id for one in store.queries.find("mail", [State.WAITING])]


def test_all_is_there_and_the_jobs_run_in_their_order(pair: Pair) -> None:
    _fill(pair.source)
    order = _order(pair.source)
    said = pair.copy().splitlines()
    assert said[0] == f"copied {MANY + 4} jobs ({MANY + 1} waiting, 1 delayed, 1 blocked, 1 failed) of 3 queues"
    assert said[1:3] == ["with 2 dependencies, 1 lines of logs and 1 dead letters", "and 1 schedules"]
    target = pair.target
    assert _order(target) == order
    assert target.queries.dependency_results("second") == {"first": '"its result"'}
    assert target.queries.logs("dies") == ["a line"]
    assert target.schedules.all() == pair.source.schedules.all()
    assert target.queries.status("other").paused
    taken = target.transitions.take("mail", "w", 60_000, 9)
    assert [one.record.id for one in taken.claims] == order[:3]  # its bound
    target.transitions.complete([Completion(one.record.id, one.token, "1") for one in taken.claims])
    assert target.queries.states(["second"]) == [State.WAITING]


def test_a_store_that_is_in_use_is_not_copied(pair: Pair) -> None:
    steps = pair.source.transitions
    steps.add([_new("one")])
    steps.renew([WorkerInfo(id="w1", queue="mail", host="here", pid=7)], [], 60_000)
    assert "w1 (here, process 7) serves mail" in pair.copy(code=1)
    steps.leave("w1", ["mail"])
    (claim,) = steps.claim("mail", ["one"], "w", 60_000).claims
    assert "1 jobs of mail are active" in pair.copy(code=1)
    steps.complete([Completion("one", claim.token, "1")])
    assert pair.source.clocks.lead("another", 60_000).leads
    assert "a process that promotes delayed jobs" in pair.copy(code=1)
    pair.source.clocks.resign("another")
    assert pair.copy().startswith("copied 1 jobs (1 completed)")
    assert "is not empty" in pair.copy(code=2)


def test_a_killed_workers_job_waits_again_in_the_new_store(pair: Pair) -> None:
    pair.source.transitions.add([_new("one")])
    pair.source.transitions.claim("mail", ["one"], "w", 0)
    assert pair.copy().startswith("copied 1 jobs (1 waiting)")
    (record,) = pair.target.queries.get(["one"])
    assert record is not None
    assert (record.state, record.stalled_count) == (State.WAITING, 1)


@pytest.mark.parametrize("step", ["write", "write_edges"])
def test_interrupted_it_goes_on(pair: Pair, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    _fill(pair.source)
    contents: Any = pair.target.contents
    real, calls = getattr(contents, step), []

    def stops(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == (3 if step == "write" else 1):
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(contents, step, stops)
    with pytest.raises(KeyboardInterrupt):
        Copy(pair.source, pair.target, f"{pair.source.address} {pair.namespace}", lambda count: None).run()
    assert pair.copy().startswith(f"copied {MANY + 4} jobs")
    assert _order(pair.target) == _order(pair.source)
    assert _all(pair.target) == _all(pair.source)


def test_a_part_of_another_stores_jobs_is_not_added_to(pair: Pair) -> None:
    pair.source.transitions.add([_new("one")])
    assert pair.target.locks.acquire("stratix:copy", "redis://another shop", 60_000)
    assert "a part of the jobs of another store" in pair.copy(code=2)


def test_the_jobs_that_come_meanwhile_are_noticed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.source.transitions.add([_new("one")])

    def adds(count: int) -> None:
        pair.source.transitions.add([_new("two")])

    from stratix_kombu.lifecycle.copying import StoreChanged

    with pytest.raises(StoreChanged, match="mail was used while it was copied: it has 2 waiting"):
        Copy(pair.source, pair.target, "here", adds).run()


def test_a_store_is_not_copied_to_itself(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    open_store(url, namespace="stratix").transitions.add([_new("one")])
    done = call("store", "copy", url, str(tmp_path / "jobs.db"), "--yes")
    assert (done.exit_code, "is not empty" in done.output) == (2, True)


def test_a_file_that_is_not_there_is_not_created(tmp_path: Path) -> None:
    done = call("store", "copy", str(tmp_path / "jbos.db"), str(tmp_path / "new.db"), "--yes")
    assert (done.exit_code, "jbos.db to copy from" in done.output) == (2, True), done.output
    assert list(tmp_path.iterdir()) == []


def _all(store: Store) -> dict[str, KeptJob]:
    assert store.contents is not None
    ids = [one.id for queue in store.queries.queues() for one in store.queries.find(queue, list(State))]
    return {one.new.id: one for one in store.contents.read(ids)}
