"""The documented options of a Redis server, each for what it does, for the store and for the broker."""

from __future__ import annotations

import socket
import ssl
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from stratix_kombu import ConfigurationError, StratixError, create_app
from stratix_kombu.celery import install
from stratix_kombu.config.redis_options import RedisOptions
from stratix_kombu.drivers.redis import RedisDriver
from stratix_kombu.stores.redis import open_redis_store
from tests.certificates import Certificates, make_certificates
from tests.services import end, free_port, start_redis, wait_for_port
from tests.waiting import until

DOCUMENTED = {
    "host": "localhost",
    "port": 6379,
    "connectTimeout": 10000,
    "maxRetriesPerRequest": 3,
    "enableReadyCheck": True,
    "autoResendUnfulfilledCommands": True,
    "connectionNamespace": "queue",
    "enableOfflineQueue": True,
    "connectRetryStrategy": lambda times: min(times * 200, 5000),
}

Reach = Callable[[dict[str, Any]], None]


def _reach_store(options: dict[str, Any]) -> None:
    store = open_redis_store(options, namespace="n")
    try:
        store.ping()
    finally:
        store.close()


def _reach_broker(options: dict[str, Any]) -> None:
    driver = RedisDriver(options, namespace="n")
    try:
        driver.init()
    finally:
        driver.close()


SIDES = pytest.mark.parametrize("reach", [_reach_store, _reach_broker], ids=["store", "broker"])


@contextmanager
def _server(port: int, *arguments: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="stratix-redis-") as folder:
        process = start_redis(folder, port, *arguments)
        try:
            wait_for_port(port, process)
            yield
        finally:
            end(process)


def test_the_documented_options_are_all_known() -> None:
    parsed = RedisOptions.parse(DOCUMENTED)
    assert (parsed.connect_timeout, parsed.max_retries_per_request, parsed.connection_namespace) == (10000, 3, "queue")
    assert [parsed.pause_s(attempt, 0) for attempt in (1, 2, 3, 4)] == [0.2, 0.4, 0.6, None]
    cluster = [{"host": f"redis-node{number}", "port": 6379} for number in (1, 2, 3)]
    nested = RedisOptions.parse({"cluster": cluster, "options": {"redisOptions": {"password": "p"}}})
    assert (len(nested.cluster), nested.password) == (3, "p")
    sentinels = [{"host": f"sentinel-{number}", "port": 26379} for number in (1, 2, 3)]
    parsed = RedisOptions.parse({"sentinels": sentinels, "name": "mymaster", "sentinelPassword": "s", "password": "p"})
    assert parsed.sentinel_arguments()["password"] == "s"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"options": {"redisOptions": {"pasword": "x"}}}, "did you mean 'password'?"),
        ({"options": {"redisOption": {}}}, "did you mean 'redis_options'?"),
        ({"options": "secret"}, "must be like"),
        ({"cluster": ["a:1"], "db": 3}, "the database 0 only"),
        ({"cluster": ["a:1"], "sentinels": ["b:1"], "name": "m"}, "not both"),
        ({"maxRetriesPerRequest": -1}, "cannot be -1"),
        ({"connectTimeout": "soon"}, "must be a number"),
        ({"ssl": {"ca": "x", "verfy": False}}, "did you mean 'verify'?"),
        ({"ssl": {"cert": "x"}}, "belong together"),
        ({"ssl": {"server_name": "x"}}, "no 'server_name'"),
    ],
)
def test_what_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        RedisOptions.parse(options)
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)


@SIDES
def test_connect_timeout(reach: Reach) -> None:
    """A host that does not answer: here a socket whose backlog is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with pytest.raises(StratixError, match=r"(?i)timeout|timed out"):
            reach({"port": full.getsockname()[1], "connectTimeout": 100})


@SIDES
def test_a_command_is_sent_again_as_the_strategy_says(reach: Reach) -> None:
    """The server comes up while the strategy is asked."""
    port, asked = free_port(), list[int]()
    with ExitStack() as stack:

        def strategy(attempt: int) -> float:
            asked.append(attempt)
            if attempt == 3:
                stack.enter_context(_server(port))
            return 1

        reach({"port": port, "maxRetriesPerRequest": 5, "connectRetryStrategy": strategy})
    assert asked == [1, 2, 3]


@SIDES
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"maxRetriesPerRequest": 2}, [1, 2]),
        ({"maxRetriesPerRequest": 0}, []),
        ({"maxRetriesPerRequest": 5, "autoResendUnfulfilledCommands": False}, []),
        ({"maxRetriesPerRequest": 5, "connectRetryStrategy": None}, None),
    ],
)
def test_how_often_a_command_is_sent_again(reach: Reach, more: dict[str, Any], expected: list[int] | None) -> None:
    asked = list[int]()

    def strategy(attempt: int) -> float | None:
        asked.append(attempt)
        return None if expected is None and attempt == 2 else 1  # None: give up

    options = {"port": free_port(), **more, "connectRetryStrategy": strategy}
    with pytest.raises(StratixError):
        reach(options)
    assert asked == ([1, 2] if expected is None else expected)


@SIDES
def test_a_strategy_that_returns_nonsense_is_reported(reach: Reach) -> None:
    with pytest.raises(ConfigurationError, match="must give milliseconds or None, not 'soon'"):
        reach({"port": free_port(), "maxRetriesPerRequest": 1, "connectRetryStrategy": lambda attempt: "soon"})


def test_without_a_ready_check_an_application_starts_before_its_server() -> None:
    port = free_port()
    options = {"port": port, "connectionNamespace": "shop"}
    with pytest.raises(StratixError):
        create_app({"driver": "redis", "redis": options}).start()
    with create_app({"driver": "redis", "redis": {**options, "enableReadyCheck": False}}) as app:
        app.start()
        queue = app.queue.create_queue("q")
        queue.process(lambda job: "done")
        with _server(port):
            until(lambda: app.queue.check_health() == {"driver": True, "store": True})
            assert queue.add("n").wait_until_finished(timeout=30) == "done"
            with Redis(port=port, decode_responses=True) as client:
                assert all(key.startswith("{shop:stratix}") for key in client.keys("*"))
            app.close()


def test_the_connection_namespace_is_in_the_names_of_the_broker(redis_url: str) -> None:
    namespace = f"c{uuid.uuid4().hex[:8]}"
    settings = {"driver": "redis", "namespace": namespace, "redis": {"url": redis_url, "connectionNamespace": "shop"}}
    app = create_app(settings)
    app.queue.get_queue("q").add("n")
    with Redis.from_url(redis_url, decode_responses=True) as client:
        assert client.llen(f"shop:{namespace}.q") == 1
    app.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def test_tls(certificates: Certificates, tmp_path: Path) -> None:
    """The server is verified unless that is switched off, and it may ask who we are."""
    port, files = free_port(), certificates
    tls = ["--port", "0", "--tls-port", str(port), "--tls-cert-file", files.cert, "--tls-key-file", files.key]
    url = {"url": f"rediss://127.0.0.1:{port}/0"}
    own = {"cert": files.client_cert, "key": files.client_key}
    with _server(port, *tls, "--tls-ca-cert-file", files.ca):
        for reach in (_reach_store, _reach_broker):
            reach({**url, "ssl": {"ca": files.ca, **own}})
            reach({**url, "ssl": {"verify": False, **own}})
            for refused in ({"ca": files.ca}, {"ca": files.stranger, **own}, own):
                with pytest.raises(StratixError):
                    reach({**url, "ssl": refused})
        project = Celery("proj", broker=url["url"], set_as_current=False)
        project.conf.broker_use_ssl = {
            "ssl_ca_certs": files.ca,
            "ssl_certfile": files.client_cert,
            "ssl_keyfile": files.client_key,
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
        }
        stratix = install(project, namespace="tls")
        assert stratix.queue.check_health() == {"driver": True, "store": True}
        stratix.close()
        settings = {"driver": "redis", "namespace": "tls", "redis": {**url, "ssl": {"ca": files.ca, **own}}}
        with create_app(settings) as app:
            app.start()
            queue = app.queue.create_queue("q")
            queue.process(lambda job: "done")
            assert queue.add("n").wait_until_finished(timeout=30) == "done"


@pytest.mark.parametrize("scheme", ["unix", "redis+socket"])
def test_a_socket_of_the_file_system(scheme: str) -> None:
    with tempfile.TemporaryDirectory(prefix="stratix-") as folder, ExitStack() as stack:
        path = f"{folder}/redis.sock"
        server = start_redis(folder, 0, "--unixsocket", path, "--requirepass", "a:word")
        stack.callback(end, server)
        until(lambda: Path(path).exists(), 30)
        database = "virtual_host" if scheme == "redis+socket" else "db"
        app = create_app({"driver": f"{scheme}://:a%3Aword@{path}?{database}=2", "namespace": "socket"})
        queue = app.queue.create_queue("q")
        queue.process("double", lambda job: job.data * 2)
        with app:
            app.start()
            assert queue.add("double", 21).wait_until_finished(10) == 42
        assert "a:word" not in app.queue.describe()
        with Redis(unix_socket_path=path, password="a:word", db=2) as client:
            assert client.dbsize()
