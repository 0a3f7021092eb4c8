"""Servers at an IPv6 address: in a URL it stands in brackets, as it does wherever an address is shown."""

from __future__ import annotations

import socket
import tempfile
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import ConfigurationError, DriverUnavailable, create_app
from stratix_kombu.celery.broker import broker_settings, store_settings
from stratix_kombu.config.redis_options import RedisOptions
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.drivers.redis import RedisDriver
from stratix_kombu.stores.postgres.options import read_options
from tests.services import end, free_port, start_redis, wait_for_port


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


here = pytest.mark.skipif(not _has_ipv6(), reason="this host has no IPv6")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a Redis that listens on both kinds of address."""
    with tempfile.TemporaryDirectory(prefix="stratix-redis-") as folder:
        port = free_port()
        process = start_redis(folder, port, "--bind", "127.0.0.1", "::1")
        wait_for_port(port, process)
        yield port
        end(process)


@here
@pytest.mark.parametrize(
    "where",
    [
        {"driver": "redis", "redis": {"url": "redis://[::1]:{port}/6"}},
        {"driver": "redis", "redis": {"host": "::1", "port": "{port}", "db": 6}},
        {"driver": "redis", "redis": {"host": "[::1]", "port": "{port}", "db": 6}},
        {"driver": "redis://[::1]:{port}/6"},
        {"driver": "redis://localhost:{port}/6", "store": "redis://[::1]:{port}/6"},
    ],
    ids=["url", "host", "host in brackets", "driver", "store"],
)
def test_jobs_over_ipv6(port: int, where: dict[str, Any]) -> None:
    given = {name: _filled(value, port) for name, value in where.items()}
    with create_app({**given, "namespace": f"six{uuid.uuid4().hex[:8]}"}) as app:
        app.queue.create_queue("q").process("n", lambda job: job.data + 1)
        app.start()
        assert app.queue.get_queue("q").add("n", 1).wait_until_finished(20) == 2
        assert app.queue.describe() == f"redis (store redis://[::1]:{port}/6)"


def _filled(value: Any, port: int) -> Any:
    if isinstance(value, dict):
        return {name: _filled(inner, port) for name, inner in value.items()}
    return value.replace("{port}", str(port)) if isinstance(value, str) else value


@pytest.mark.parametrize("key", ["sentinels", "cluster"])
@pytest.mark.parametrize("node", ["[::1]:7000", {"host": "::1", "port": 7000}, {"host": "[::1]", "port": 7000}])
def test_nodes_of_sentinels_and_clusters(key: Any, node: Any) -> None:
    options = RedisOptions.parse({key: [node, "[fe80::1%eth0]", "b:7"], "name": "m" if key == "sentinels" else None})
    default = 26379 if key == "sentinels" else 6379
    assert getattr(options, key) == (("::1", 7000), ("fe80::1%eth0", default), ("b", 7))
    for shown in (f"[fe80::1%eth0]:{default}", "[::1]:7000", "b:7"):
        assert shown in options.address


def test_the_url_that_kombu_is_given_says_the_same() -> None:
    for host in ("::1", "fe80::1%eth0", "::ffff:10.0.0.1", "localhost"):
        options = RedisOptions(host=host, port=7, db=6, password="s:@/")
        assert RedisOptions.parse({"url": options.url}) == options
        assert RedisDriver({"url": options.url}, namespace="six").connection().hostname == host
    many = "sentinel://:pw@[::1]:7000/6;sentinel://:pw@[::2]:7001/6"
    several = RedisOptions.parse({"url": many, "name": "m"})
    assert several.sentinels == (("::1", 7000), ("::2", 7001))
    assert RedisOptions.parse({"url": several.url, "name": "m"}) == several
    cluster = RedisOptions.parse({"url": "redis+cluster://[::1]:7000;redis+cluster://[::2]:7001/0;c:7/0"})
    assert cluster.cluster == (("::1", 7000), ("::2", 7001), ("c", 7))


def test_an_address_without_brackets_is_refused_in_words() -> None:
    with pytest.raises(ConfigurationError, match=r"an IPv6 address stands in brackets, as in \[::1\]:6379"):
        RedisOptions.parse({"url": "redis://::1:7813/6"})
    with pytest.raises(ConfigurationError, match=r"'host:port' \('\[::1\]:6379' with IPv6\)"):
        RedisOptions.parse({"sentinels": ["::1:26379"], "name": "m"})


@here
@pytest.mark.parametrize("options", [{"url": "amqp://ada:secret@[::1]:{port}//"}, {"host": "::1"}, {"host": "[::1]"}])
def test_errors_of_rabbitmq_show_the_address(options: dict[str, Any]) -> None:
    port = free_port()
    given = _filled(options, port) if "url" in options else {**options, "port": port, "username": "ada"}
    app = create_app({"driver": "rabbitmq", "store": "memory://", "rabbitmq": {**given, "connect_timeout": 500}})
    with app, pytest.raises(DriverUnavailable, match=rf"amqp://ada:\*\*\*@\[::1\]:{port}//.*refused"):
        app.start()


def test_the_address_of_any_transport() -> None:
    for url in ("amqp://[::1]:5672//", "amqp://u:p@[::1]//", "amqp://u:p@[fe80::1%25eth0]:5672//"):
        host = url.partition("[")[2].partition("]")[0].replace("%25", "%")
        assert f"[{host}]" in KombuDriver({"url": url}, namespace="six").address
    assert "[" not in KombuDriver({"url": "amqp://a%3Ab%3Ac:p@host//"}, namespace="six").address


@here
def test_sqs_is_asked_at_its_endpoint() -> None:
    endpoint = f"http://[::1]:{free_port()}"
    credentials = {"access_key_id": "AKIA", "secret_access_key": "secret"}
    options = {"endpoint_url": endpoint, "aws": {"region": "eu-west-1", "credentials": credentials}}
    app = create_app({"driver": "sqs", "store": "memory://", "sqs": options})
    with app, pytest.raises(DriverUnavailable) as raised:
        app.start()
    assert f"sqs://{endpoint.partition('//')[2]} is unavailable" in str(raised.value)
    assert f'endpoint URL: "{endpoint}/"' in str(raised.value)


def test_the_address_of_a_database() -> None:
    for url in ("postgresql://ada:pw@[::1]:5433/jobs", "postgresql:///jobs?host=::1&port=5433"):
        assert read_options({"url": url}, "stratix").address == "postgresql://[::1]:5433/jobs"


def test_the_broker_and_the_results_of_a_celery_project() -> None:
    class Conf:
        """Of Celery, as far as it is read."""

        broker_use_ssl = redis_backend_use_ssl = broker_transport_options = None

    url = "redis://:pw@[::1]:6379/6"
    assert broker_settings(Conf, url) == {"driver": url}
    assert store_settings(Conf, url) == url
    sentinels = broker_settings(Conf, "sentinel://[::1]:7000/0;sentinel://[::2]:7001/0")
    assert RedisOptions.parse({**sentinels["redis"], "name": "m"}).sentinels == (("::1", 7000), ("::2", 7001))
