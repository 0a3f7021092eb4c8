"""Fair groups, as users write them."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from stratix_kombu import Application, ConfigurationError, Job, create_app
from tests.waiting import until


def test_one_job_of_another_tenant_does_not_wait_for_ten_thousand(app: Application) -> None:
    queue = app.queue.create_queue("imports", concurrency=2)
    order, enough = list[str](), threading.Event()

    def handler(job: Job) -> None:
        order.append(job.opts["group"])
        if len(order) == 20:
            queue.pause()
            enough.set()

    queue.add_bulk([{"name": "row", "opts": {"group": "acme"}}] * 10_000)
    queue.add("row", group="bolt")
    queue.process(handler)
    assert enough.wait(30)
    assert "bolt" in order[:5]
    queue.obliterate(force=True)


def test_fifty_tenants_of_unequal_load_take_turns(app: Application) -> None:
    queue, order = app.queue.create_queue("tenants", concurrency=1), list[str]()
    loads = {f"t{number:02}": 1 + number % 7 * 4 for number in range(50)}
    for tenant, jobs in loads.items():
        queue.add_bulk([{"name": "n", "opts": {"group": tenant}}] * jobs)
    queue.process(lambda job: order.append(job.opts["group"]))
    until(lambda: len(order) == sum(loads.values()), 30)
    assert Counter(order) == loads
    done = Counter[str]()
    for tenant in order:
        done[tenant] += 1
        behind = min(done[one] for one in loads if done[one] < loads[one] or one == tenant)
        assert done[tenant] <= behind + 1, f"{tenant} had {done[tenant]} turns before others had {behind + 1}"


def test_a_tenant_that_comes_later_has_its_turn_at_once(app: Application) -> None:
    queue, order = app.queue.create_queue("late", concurrency=1), list[str]()

    def handler(job: Job) -> None:
        order.append(job.opts["group"])
        if len(order) == 10:
            queue.add_bulk([{"name": "n", "opts": {"group": "bolt"}}] * 3)

    queue.add_bulk([{"name": "n", "opts": {"group": "acme"}}] * 40)
    queue.process(handler)
    until(lambda: len(order) == 43, 30)
    assert order[10:16].count("bolt") >= 2
    assert "bolt" not in order[18:]


def test_active_jobs_of_a_group_are_bounded(app: Application) -> None:
    queue = app.queue.create_queue("bounded", concurrency=6, group_concurrency=2)
    lock, running, most = threading.Lock(), Counter[str](), Counter[str]()
    three = threading.Barrier(6, timeout=20)

    def handler(job: Job) -> None:
        group = job.opts["group"]
        with lock:
            running[group] += 1
            most[group] = max(most[group], running[group])
        three.wait()  # two of each of three groups
        with lock:
            running[group] -= 1

    jobs = [{"name": "n", "opts": {"group": group}} for group in ("a", "b", "c") for _ in range(6)]
    queue.add_bulk(jobs)
    queue.process(handler)
    until(lambda: queue.get_job_counts()["completed"] == 18, 30)
    assert most == {"a": 2, "b": 2, "c": 2}


def test_a_full_group_holds_up_no_other_and_goes_on(app: Application) -> None:
    queue = app.queue.create_queue("full", concurrency=4, group_concurrency=1)
    gate, ran = threading.Event(), list[str]()

    def handler(job: Job) -> None:
        if job.data == "stuck":
            assert gate.wait(20)
        ran.append(job.opts["group"])

    queue.process(handler)
    stuck = queue.add("n", "stuck", group="acme")
    until(lambda: stuck.get_state() == "active")
    queue.add_bulk([{"name": "n", "opts": {"group": "acme"}}] * 3)
    queue.add_bulk([{"name": "n", "opts": {"group": "bolt"}}] * 3)
    until(lambda: ran.count("bolt") == 3)
    assert "acme" not in ran
    assert queue.get_job_counts()["waiting"] == 3
    gate.set()
    until(lambda: ran.count("acme") == 4)


def test_a_group_stays_with_its_jobs(app: Application) -> None:
    queue, tries = app.queue.create_queue("kept", dead_letter="dead"), list[str]()

    def handler(job: Job) -> None:
        tries.append(job.opts["group"])
        if len(tries) < 3:
            raise ValueError("no")

    queue.process(handler)
    queue.add("n", group="acme", attempts=2)
    dead = app.queue.get_queue("dead")
    until(lambda: dead.get_job_counts()["waiting"] == 1)
    dead.redrive()
    until(lambda: len(tries) == 3)
    assert tries == ["acme"] * 3


@pytest.mark.parametrize("bound", [-1, 1.5, "two", True])
def test_bounds_that_are_refused(bound: object) -> None:
    with create_app({"namespace": "refused"}) as app, pytest.raises(ConfigurationError, match="'group_concurrency'"):
        app.queue.create_queue("q", group_concurrency=bound)  # type: ignore[arg-type]
