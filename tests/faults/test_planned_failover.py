"""A planned failover: the old master says for about ten seconds that it is one, takes writes, and loses them.

Here it does forever, since it is not allowed to become a replica: whoever has not left it by himself stays there.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Queue, create_app
from tests.celery.workers import Project
from tests.faults.conftest import WORKER
from tests.faults.worker_processes import worker_process
from tests.redis_nodes import MASTER, PASSWORD, SENTINEL_PASSWORD, SentinelServers, sentinel_servers
from tests.waiting import WAIT_S, until

SOON_S = 30.0


@pytest.fixture
def sentinels() -> Iterator[SentinelServers]:
    with sentinel_servers() as servers:
        yield servers


class Producer:
    """Adds jobs all the time; ``added`` are those that ``add`` returned."""

    def __init__(self, queue: Queue) -> None:
        self.added: list[str] = []
        self.problems: list[BaseException] = []
        self._queue = queue
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            try:
                self.added.append(self._queue.add("n").id)
            except Exception as problem:
                self.problems.append(problem)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def _fail_over(sentinels: SentinelServers) -> int:
    """With no write on its way to the replica at that instant: plain Redis too loses those that the old master has
    acknowledged and the replica has not read when it is promoted, with ``min-replicas-to-write`` as well. ``FAILOVER``
    of Redis pauses its clients for the same reason."""
    (replica,) = set(sentinels.ports) - {sentinels.master()}
    with sentinels.client(sentinels.master()) as old, sentinels.client(replica) as new:
        # It loses no replica without noticing: what nobody would have, it refuses.
        old.config_set("min-replicas-to-write", 1)
        old.acl_setuser("default", enabled=True, commands=["+@all", "-replicaof", "-slaveof"])
        old.client_pause(timeout=int(SOON_S * 1000), all=False)
        try:
            until(
                lambda: new.info("replication")["slave_repl_offset"] == old.info("replication")["master_repl_offset"],
                WAIT_S,
            )
            port = sentinels.planned_failover()
            until(lambda: new.role()[0] == "master", SOON_S)
            until(lambda: old.info("replication")["connected_slaves"] == 0, SOON_S)
        finally:
            old.client_unpause()
    until(lambda: sentinels.master() != port, SOON_S)
    return port


def _celery_project(sentinels: SentinelServers) -> Project:
    nodes = ";".join(f"sentinel://:{PASSWORD}@127.0.0.1:{port}/0" for port in sentinels.sentinels)
    transport = {"master_name": MASTER, "sentinel_kwargs": {"password": SENTINEL_PASSWORD}}
    return Project(nodes, "", conf={"broker_transport_options": transport})


def test_nothing_is_lost_and_both_hosts_go_on(sentinels: SentinelServers, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "driver": "redis",
        "redis": sentinels.options,
        "worker": WORKER,
        "namespace": f"fo{uuid.uuid4().hex[:8]}",
    }
    project = _celery_project(sentinels)
    celery_add = project.task("add").delay
    with create_app(settings) as app, worker_process(settings, "work", tmp_path / "runs"), project.worker():
        app.start()
        work = app.queue.create_queue("work")
        assert work.add("before").wait_until_finished(timeout=SOON_S) == "before"
        assert celery_add(1, 1).get(timeout=SOON_S) == 2
        producer = Producer(app.queue.create_queue("waits"))
        until(lambda: len(producer.added) > 50, SOON_S)
        old = _fail_over(sentinels)
        count = len(producer.added)
        until(lambda: len(producer.added) > count + 50, SOON_S)
        producer.stop()
        assert work.add("after").wait_until_finished(timeout=SOON_S) == "after"
        assert celery_add(1, 2).get(timeout=SOON_S) == 3
        counts = producer._queue.get_job_counts()
        with sentinels.client(old) as server:
            assert server.role()[0] == "master"
            missing = [job_id for job_id in producer.added if producer._queue.get_job(job_id) is None]
            lost = [(job_id, bool(list(server.scan_iter(f"*:job:{job_id}", count=10_000)))) for job_id in missing]
    project.close()
    assert lost == [], "not in the new master; True: the old one has it"
    assert counts["waiting"] == len(producer.added)
    assert producer.problems == []


def test_the_new_master_is_found_while_another_replica_does_not_follow_it() -> None:
    """So long the sentinel that leads the failover describes the old one."""
    with sentinel_servers(replicas=2) as servers:
        for port in servers.ports:
            with servers.client(port) as server:
                followed_by_none = ["+@all", "-replicaof", "-slaveof", "+slaveof|no"]
                server.acl_setuser("default", enabled=True, commands=followed_by_none)
        for port in servers.sentinels:
            with servers.client(port) as sentinel:
                sentinel.sentinel_set(MASTER, "failover-timeout", 600_000)
        settings = {"driver": "redis", "redis": servers.options, "namespace": f"fo{uuid.uuid4().hex[:8]}"}
        with create_app(settings) as app:
            app.start()
            queue = app.queue.create_queue("q")
            queue.add("before")
            old = servers.planned_failover()
            until(lambda: servers.master() != old, SOON_S)
            with servers.client(servers.master()) as new:
                until(lambda: list(new.scan_iter(f"*{queue.add('after').id}*", count=10_000)), SOON_S)
        with servers.client(servers.sentinels[0]) as leader:
            assert leader.sentinel_master(MASTER)["port"] == old
