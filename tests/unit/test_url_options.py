"""Nothing that a URL of a driver or a store says is ignored in silence: it is honoured, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import ConfigurationError, create_app
from stratix_kombu.celery.broker import store_settings
from stratix_kombu.config.redis_options import RedisOptions
from stratix_kombu.drivers.rabbitmq.driver import RabbitMQDriver
from stratix_kombu.drivers.sqs.driver import SQSDriver
from stratix_kombu.stores.postgres.options import read_options as postgres_options
from stratix_kombu.stores.sqlite.options import read_options as sqlite_options


def redis(url: str) -> RedisOptions:
    return RedisOptions.parse({"url": url})


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("redis://h?db=6", 6),
        ("redis://h/?db=6", 6),
        ("redis://h/6?db=6", 6),
        ("redis://h/6", 6),
        ("redis://h", 0),
        ("unix:///run/redis.sock?db=6", 6),
        ("redis+socket:///run/redis.sock?virtual_host=/6", 6),
        ("sentinel://a:1/6;sentinel://b:2?name=m", 6),
        ("sentinel://a:1;b:2/6?name=m&db=6", 6),
    ],
)
def test_the_database_of_a_redis_url(url: str, database: int) -> None:
    assert redis(url).db == database
    if "name=" not in url:
        assert create_app({"store": url, "driver": "memory"}).queue.describe().endswith(f"/{database})")
        assert create_app({"driver": "redis", "redis": {"url": url}}).queue.describe().endswith(f"/{database})")


def test_other_options_of_a_redis_url() -> None:
    options = redis("redis://ada:s%40@h?connectTimeout=70&ssl=true&username=ada&password=s%40&connection_namespace=n")
    assert (options.connect_timeout, options.connection_namespace, bool(options.ssl)) == (70, "n", True)
    assert (options.username, options.password) == ("ada", "s@")
    assert redis("rediss://h?ssl=1").ssl
    assert redis("redis://h?password=pw").password == "pw"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://h/0?db=6", "'db' more than once, and not the same"),
        ("redis://h?db=6&db=7", "'db' more than once"),
        ("redis://h?connect_timeout=6&connectTimeout=7", "'connect_timeout' more than once"),
        ("redis+socket:///s?virtual_host=1&db=2", "'db' more than once"),
        ("sentinel://a/1;sentinel://b/2?name=m", "'db' more than once"),
        ("redis://:one@h?password=two", "'password' more than once"),
        ("redis://ada@h?username=bob", "'username' more than once"),
        ("sentinel://:one@a;sentinel://:two@b?name=m", "'password' more than once"),
        ("rediss://h?ssl=false", "'ssl' more than once"),
        ("redis://h?host=b", "'host' is said by what stands before the '\\?'"),
        ("redis://h?port=1", "'port' is said by what stands before the '\\?'"),
        ("unix:///run/redis.sock?host=b", "'host' is said by"),
        ("redis://h?cluster=b", "'cluster' is said by"),
        ("redis://h?databse=b", "unknown option in the redis URL 'databse'"),
        ("redis://h?db", "'db' in 'url' has no value"),
        ("redis://h?db=six", "'db' must be a number"),
        ("redis://h/1#2", "'url' has a '#'"),
        ("redis://a;b", "only sentinel:// and redis\\+cluster:// have several nodes"),
        ("redis://h?name=m", "'name' in 'url' is for sentinels, and there are none"),
        ("redis://h?sentinel_password=two", "'sentinel_password' in 'url' is for sentinels"),
    ],
)
def test_a_redis_url_that_is_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as raised:
        redis(url)
    assert "one" not in str(raised.value).replace("none", "")
    assert "two" not in str(raised.value)


def test_results_of_celery_are_in_the_database_of_the_query() -> None:
    class Conf:
        """Of Celery, as far as it is read."""

        redis_backend_use_ssl = None

    for url in ("redis://h?db=6", "redis://h/0?db=6", "redis://h/6?socket_timeout=5"):
        assert redis(store_settings(Conf, url)).db == 6


def test_options_of_a_rabbitmq_url() -> None:
    def driver(url: str, **more: Any) -> Any:
        return RabbitMQDriver({"url": url, **more}, namespace="urls").connection()

    assert driver("amqp://h//?heartbeat=5").heartbeat == 5
    assert driver("amqp://h//?heartbeat=5", heartbeat=7).heartbeat == 7, "what stands beside a URL wins"
    assert driver("amqp://h//?login_method=EXTERNAL").login_method == "EXTERNAL"
    assert driver("amqp://h//?ssl=true").ssl["cert_reqs"]
    assert driver("amqp://h//?ssl=false").ssl is False
    assert driver("amqp://h/v?heartbeat=5;amqp://b/v").virtual_host == "v"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://h//?connect_timeout=3", "'connect_timeout' after the '\\?' of 'url' is not known; known: heartbeat"),
        ("amqp://h//?vhost=a", "the virtual host in it: amqp://host:5672/vhost"),
        ("amqp://h//?foo", "'foo' after the '\\?'"),
        ("amqp://h//?heartbeat=5&heartbeat=6", "'heartbeat' more than once"),
        ("amqp://h//?heartbeat=", "'heartbeat' must be seconds"),
        ("amqps://h//?ssl=false", "says amqps:// and 'ssl' is off"),
        ("amqp://u:p@h/v#x", "'url' has a '#'"),
    ],
)
def test_a_rabbitmq_url_that_is_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        RabbitMQDriver({"url": url}, namespace="urls")


@pytest.mark.parametrize(
    "options",
    [
        {"url": "sqs://a:b@?region=eu-west-1"},
        {"url": "sqs://a:b@h:1/path"},
        {"url": "sqs://a:b@h#x"},
        {"url": "sqs://", "endpoint_url": "http://h:1"},
        {"url": "sqs://a:b@", "aws": {"credentials": {"access_key_id": "c", "secret_access_key": "d"}}},
        {"endpoint_url": "http://h:1/path"},
        {"endpoint_url": "http://h:1?region=x"},
    ],
)
def test_an_address_of_sqs_that_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"'url' ends after its host|'url' or|such as https://host:port"):
        SQSDriver(options, namespace="urls")


def test_urls_of_databases(tmp_path: Path) -> None:
    file = f"sqlite:///{tmp_path}/jobs.db"
    assert sqlite_options({"url": f"{file}?timeout=7", "synchronous": "off"}).timeout_ms == 7
    assert sqlite_options({"url": f"{file}?timeout=7", "timeout": 8}).timeout_ms == 8
    for query in ("timeout=7&timeout=8", "synchronous=off&synchronous=full"):
        with pytest.raises(ConfigurationError, match=r"the URL of the SQLite store says '.*' more than once"):
            sqlite_options({"url": f"{file}?{query}"})
    url = "postgresql://ada:pw@h/jobs"
    assert postgres_options({"url": f"{url}?pool_size=7&sslmode=require"}, "stratix").pool_size == 7
    for query in ("pool_size=7&poolSize=8", "sslmode=require&sslmode=disable"):
        with pytest.raises(ConfigurationError, match=r"the URL of the PostgreSQL store says '.*' more than once"):
            postgres_options({"url": f"{url}?{query}"}, "stratix")
