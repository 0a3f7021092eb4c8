"""Redis fails over to its replica in the middle of a thousand jobs; a cluster moves the slot of a running namespace.

What a master has acknowledged and not yet replicated is lost with it: that is how Redis replicates. So the thousand
jobs are known to be replicated before the master is killed. What ended in its last moment may not be: such a job runs
again.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from stratix_kombu import ConfigurationError, DriverUnavailable, Job, Queue, StoreUnavailable, create_app
from stratix_kombu.celery import install
from stratix_kombu.drivers.registry import create_driver
from stratix_kombu.testing.stores import audit
from tests.celery.project import define_plain
from tests.faults.conftest import WORKER
from tests.faults.worker_processes import runs_of, worker_process
from tests.redis_nodes import (
    MASTER,
    PASSWORD,
    SENTINEL_PASSWORD,
    ClusterServers,
    SentinelServers,
    cluster_servers,
    sentinel_servers,
)
from tests.waiting import until

JOBS = 1000


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelServers]:
    with sentinel_servers() as servers:
        yield servers


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterServers]:
    with cluster_servers() as servers:
        yield servers


def _counts(queue: Queue) -> dict[str, int]:
    """What is counted, once the store answers."""
    try:
        return {state: count for state, count in queue.get_job_counts().items() if count}
    except StoreUnavailable:
        return {}


def _add(queue: Queue, name: str, refused: list[BaseException]) -> Job:
    """Add once it is possible: the same id again adds nothing twice."""
    job_id, added = uuid.uuid4().hex, list[Job]()

    def tried() -> bool:
        try:
            added.append(queue.add(name, job_id=job_id))
        except StoreUnavailable as error:
            refused.append(error)
        return bool(added)

    until(tried, 30)
    return added[0]


def test_a_celery_project_on_sentinel_has_the_bridge(sentinels: SentinelServers) -> None:
    """From Celery's own settings: they serve as the store too."""
    nodes = ";".join(f"sentinel://:{PASSWORD}@127.0.0.1:{port}/0" for port in sentinels.sentinels)
    project = Celery("proj", broker=nodes, set_as_current=False)
    secret = {"password": SENTINEL_PASSWORD}
    project.conf.broker_transport_options = {"master_name": MASTER, "sentinel_kwargs": secret}
    stratix = install(project, namespace="bridged")
    define_plain(project)
    result = project.tasks["proj.add"].delay(1, 1)
    job = stratix.queue.get_queue("celery").get_job(result.id)
    assert job is not None
    with sentinels.client(sentinels.master()) as client:
        assert client.llen("celery") == 1
    stratix.close()
    project.close()


def test_a_forked_child_asks_the_sentinels_for_itself(sentinels: SentinelServers) -> None:
    """The thread that follows the master is its parent's; so are the connections to the sentinels."""
    app = create_app({"driver": "redis", "redis": sentinels.options, "namespace": f"child{uuid.uuid4().hex[:8]}"})
    queue = app.queue.get_queue("q")
    queue.add("parent")
    child = os.fork()
    if child == 0:
        try:
            queue.add("child")
            store = app.queue.engine.store
            threads = {thread.name for thread in threading.enumerate()}
            os._exit(0 if store.queries.status("q").counts["waiting"] == 2 and "stratix-sentinels" in threads else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    queue.add("parent")
    assert _counts(queue) == {"waiting": 3}
    app.close()


def test_the_master_is_killed_in_the_middle_of_a_thousand_jobs(sentinels: SentinelServers, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    settings: dict[str, Any] = {
        "driver": "redis",
        "redis": sentinels.options,
        "worker": WORKER,
        "namespace": f"fail{uuid.uuid4().hex[:8]}",
    }
    with create_app(settings) as app:
        app.start()
        queue = app.queue.create_queue("work")
        jobs = queue.add_bulk([{"name": f"job-{number}"} for number in range(JOBS)])
        assert sentinels.replicated()
        with worker_process(settings, "work", runs, concurrency=10) as worker:
            until(lambda: _counts(queue).get("completed", 0) >= JOBS // 5, 60)
            old = sentinels.kill_master()
            assert len(runs_of(runs)) < JOBS
            refused = list[BaseException]()
            late = _add(queue, "late", refused)
            assert refused, "an add while there is no master is refused, and does not hang"
            until(lambda: _counts(queue) == {"completed": JOBS + 1}, 60)
            assert sentinels.master() != old
            assert worker.poll() is None
        done = {job.id: job for job in queue.get_jobs(["completed"], end=-1)}
        assert set(done) == {job.id for job in jobs} | {late.id}
        assert all(job.return_value == job.name for job in done.values())
        assert set(runs_of(runs)) == set(done)
        assert audit(app.queue.engine.store) == []
    assert not any(word in str(refused[0]) for word in (PASSWORD, SENTINEL_PASSWORD))


def test_the_slot_of_a_namespace_moves_in_the_middle_of_a_thousand_jobs(
    cluster: ClusterServers, amqp_url: str, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    namespace = f"move{uuid.uuid4().hex[:8]}"
    settings: dict[str, Any] = {
        "driver": "rabbitmq",
        "rabbitmq": {"url": amqp_url},
        "store": cluster.options,
        "namespace": namespace,
        "worker": {**WORKER, "lease_duration": 10_000},
    }
    slot = cluster.slot(f"{{{namespace}}}")
    source = cluster.owner(slot)
    target = next(port for port in cluster.ports if port != source)
    with create_app(settings) as app:
        app.start()
        queue = app.queue.create_queue("work")
        jobs = queue.add_bulk([{"name": f"job-{number}"} for number in range(JOBS)])
        with worker_process(settings, "work", runs, concurrency=10):
            until(lambda: _counts(queue).get("completed", 0) >= JOBS // 5, 60)
            cluster.begin_move(slot, target)
            moved = 0
            while some := cluster.move_some(slot, target, 20):
                moved += some
            assert moved > JOBS
            assert len(runs_of(runs)) < JOBS
            cluster.end_move(slot, target)
            until(lambda: _counts(queue) == {"completed": JOBS}, 60)
        assert cluster.owner(slot) == target
        assert runs_of(runs) == {job.id: 1 for job in jobs}
        assert audit(app.queue.engine.store) == []


def test_while_a_slot_is_between_two_nodes_nothing_half_is_seen(cluster: ClusterServers) -> None:
    """A script that ran then would find what has moved to be missing."""
    namespace = f"half{uuid.uuid4().hex[:8]}"
    options = {**cluster.options, "commandTimeout": 300}
    app = create_app({"driver": "memory", "store": options, "namespace": namespace, "worker": {"clock": False}})
    queue = app.queue.get_queue("q")
    job = queue.add("n", {"kept": True})
    slot = cluster.slot(f"{{{namespace}}}")
    source = cluster.owner(slot)
    target = next(port for port in cluster.ports if port != source)
    cluster.begin_move(slot, target)
    while cluster.move_some(slot, target, 1):
        with pytest.raises(StoreUnavailable):
            queue.get_job(job.id)
    with pytest.raises(StoreUnavailable):
        queue.add("second")
    cluster.end_move(slot, target)
    found = queue.get_job(job.id)
    assert found is not None
    assert found.data == {"kept": True}
    assert _counts(queue) == {"waiting": 1}
    app.close()


def test_a_cluster_is_no_broker(cluster: ClusterServers) -> None:
    with pytest.raises(ConfigurationError, match=r"the broker cannot be a cluster.*single node or Sentinel"):
        create_app({"driver": "redis", "redis": cluster.options}).queue  # noqa: B018
    with pytest.raises(ConfigurationError, match="the broker cannot be a cluster"):
        create_driver("redis+cluster://127.0.0.1:7000", {}, namespace="n")


def test_sentinels_that_know_no_master() -> None:
    """All of them away: refused with the addresses, without a credential."""
    nodes = {"sentinels": ["127.0.0.1:1", "127.0.0.1:2"], "name": "main", "password": "hidden-word"}
    app = create_app({"driver": "redis", "redis": {**nodes, "enableReadyCheck": False}, "namespace": "away"})
    with pytest.raises(StoreUnavailable, match=r"sentinel:main@127\.0\.0\.1:1,127\.0\.0\.1:2") as refused:
        app.queue.get_queue("q").add("n")
    assert "hidden-word" not in str(refused.value)
    app.close()
    app = create_app({"driver": "redis", "redis": nodes, "store": "memory://"})
    with pytest.raises(DriverUnavailable, match="No master found for 'main'") as unreachable:
        app.start()
    assert "hidden-word" not in str(unreachable.value)
    app.close()
