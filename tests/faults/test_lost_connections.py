"""Connections to the store that are lost, silently or not, and a name that leads to another server."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from stratix_kombu import StoreUnavailable, create_app
from stratix_kombu.config.redis_options import RedisOptions
from stratix_kombu.stores.redis.connect import Client
from tests.celery.workers import Project
from tests.faults.proxy import Proxy
from tests.redis_nodes import redis_pair

THREADS = 8


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    proxy = Proxy(redis_url)
    yield proxy
    proxy.close()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    client = Client(RedisOptions.parse({"url": proxy.url, "command_timeout": 1000}))
    yield client
    client.close()


def _at_once(client: Client, *command: object, again: bool) -> list[object]:
    """Answers to, or errors of, one command on as many connections as there are threads."""
    barrier = threading.Barrier(THREADS)

    def run(_: int) -> object:
        barrier.wait()
        try:
            return client.run(*command, again=again)
        except StoreUnavailable as error:
            return error

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(run, range(THREADS)))


def _open_many(client: Client, proxy: Proxy) -> None:
    """Have several idle connections: each script keeps its own for a moment."""
    while proxy.accepted < THREADS:
        _at_once(client, "BLPOP", uuid.uuid4().hex, 0.05, again=True)


def test_connections_killed_together_cost_one_failure_at_most(client: Client, proxy: Proxy) -> None:
    """Nobody can know what became of a command whose answer was lost; this accounts for all the others."""
    _open_many(client, proxy)
    proxy.cut_all()
    failed = 0
    for _ in range(2 * THREADS):
        try:
            client.run("PING")
        except StoreUnavailable:
            failed += 1
    assert failed <= 1


def test_connections_killed_together_cost_nothing_if_commands_may_be_sent_again(client: Client, proxy: Proxy) -> None:
    _open_many(client, proxy)
    proxy.cut_all()
    assert _at_once(client, "PING", again=True) == [b"PONG"] * THREADS


@pytest.mark.parametrize("lose", [Proxy.swallow, Proxy.cut_all], ids=["silently", "with a word"])
def test_the_next_command_finds_another_connection(client: Client, proxy: Proxy, lose: Callable[[Proxy], None]) -> None:
    for number in range(3):
        assert client.run("INCRBY", f"{proxy.url}:a", 0, again=True) == 0, number
        lose(proxy)
    assert client.run("PING", again=True) == b"PONG"


def test_the_next_read_of_a_log_finds_another_connection(client: Client, proxy: Proxy) -> None:
    key = uuid.uuid4().hex
    client.run("XADD", key, "1-1", "a", "b")
    assert client.read_streams({key: "0-0"}, 10, 0) == {key: [(b"1-1", {b"a": b"b"})]}
    proxy.swallow()
    assert client.read_streams({key: "1-1"}, 10, 250) == {}


def test_an_answer_that_was_lost_is_asked_for_again_only_if_that_is_said(client: Client, proxy: Proxy) -> None:
    key = uuid.uuid4().hex
    client.run("PING")
    proxy.cut_replies_to(b"INCR", keep=1)
    with pytest.raises(StoreUnavailable):
        client.run("INCR", key)
    assert client.run("GET", key) == b"1"
    proxy.cut_replies_to(b"INCR", keep=1)
    assert client.run("INCR", key, again=True) == 3


def test_a_server_that_swallows_everything_is_given_up_in_time(client: Client, proxy: Proxy) -> None:
    client.run("PING")
    proxy.freeze()
    for again in (True, False):
        with pytest.raises(StoreUnavailable, match=r"(?i)timeout"):
            client.run("PING", again=again)
    proxy.thaw()
    assert client.run("PING") == b"PONG"


def test_a_command_that_is_slow_is_waited_for(client: Client) -> None:
    """For longer than a connection itself has patience, but not than the command may take."""
    assert client.run("BLPOP", uuid.uuid4().hex, 0.7) is None


def test_a_server_that_has_been_demoted_is_left_at_once(client: Client, proxy: Proxy) -> None:
    """Connections to it stay open and answer READONLY; the name already leads to the one that was promoted."""
    with redis_pair() as pair:
        proxy.lead_to(pair.url)
        _open_many(client, proxy)
        assert _at_once(client, "SET", "before", "1", again=False) == [b"OK"] * THREADS
        pair.swap()
        proxy.lead_to(pair.url)
        assert _at_once(client, "SET", "after", "1", again=False) == [b"OK"] * THREADS
        with Redis.from_url(pair.url) as master:
            assert master.mget("before", "after") == [b"1", b"1"]


@pytest.mark.parametrize("lose", [Proxy.swallow, Proxy.cut_all], ids=["silently", "with a word"])
def test_the_next_add_succeeds_and_adds_once(proxy: Proxy, lose: Callable[[Proxy], None]) -> None:
    """Also where the broker's messages go through the same connection."""
    options = {"url": proxy.url, "command_timeout": 1000}
    app = create_app({"driver": "redis", "redis": options, "namespace": f"lost{uuid.uuid4().hex[:8]}"})
    queue, errors = app.queue.create_queue("q"), list[BaseException]()
    queue.on("error", errors.append)
    for number in range(3):
        lose(proxy)
        assert queue.add("n").state == "waiting", number
    assert queue.get_job_counts()["waiting"] == 3
    assert app.queue.engine.driver.depth("q") == 3
    assert errors == []
    app.close()


def test_a_celery_worker_notices_that_its_broker_was_lost_silently(proxy: Proxy, redis_url: str) -> None:
    """It looks each few seconds whether an answer is overdue; here each second."""
    quick = {"health_check_interval": 1, "socket_timeout": 1}
    options = {"broker_transport_options": quick, "stratix": {"store": redis_url}}
    project = Project(proxy.url, redis_url, conf=options)
    with project.worker():
        assert project.task("add").delay(1, 1).get(timeout=30) == 2
        proxy.swallow()
        assert project.task("add").delay(1, 2).get(timeout=30) == 3
    assert project.app.conf.broker_transport_options["socket_keepalive"] is True
    project.close()
