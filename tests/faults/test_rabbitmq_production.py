"""RabbitMQ in production: TLS, heartbeats while nothing is taken, alarms, timeouts of its own, quorum queues."""

from __future__ import annotations

import shlex
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from stratix_kombu import Application, ConfigurationError, DriverUnavailable, create_app
from stratix_kombu.celery import install
from stratix_kombu.drivers.contract import Delivery
from stratix_kombu.drivers.rabbitmq import RabbitMQDriver, receiver
from stratix_kombu.model.record import Ready
from stratix_kombu.worker import pace
from tests.celery.project import define_plain
from tests.certificates import Certificates, make_certificates
from tests.services import RabbitMQNode, free_port, rabbitmq_node
from tests.waiting import WAIT_S, until

CONSUMER_TIMEOUT_MS = 1000
"""The broker closes a channel on which a message was not acknowledged for this long; thirty minutes by default."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def node(certificates: Certificates, tls_port: int) -> Iterator[RabbitMQNode]:
    """A node of these tests' own, for they set its alarms."""
    configuration = (
        f"listeners.ssl.1 = 127.0.0.1:{tls_port}\nssl_options.cacertfile = {certificates.ca}\n"
        f"ssl_options.certfile = {certificates.cert}\nssl_options.keyfile = {certificates.key}\n"
        "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n"
    )
    advanced = f"[{{rabbit, [{{consumer_timeout, {CONSUMER_TIMEOUT_MS}}}, {{channel_tick_interval, 300}}]}}]."
    with rabbitmq_node(configuration, advanced, [tls_port]) as node:
        yield node


OpenApp = Callable[..., Any]


@pytest.fixture
def open_app(node: RabbitMQNode, redis_url: str) -> OpenApp:
    @contextmanager
    def opened(**options: Any) -> Iterator[Application]:
        settings = {
            "driver": "rabbitmq",
            "namespace": f"prod{uuid.uuid4().hex[:8]}",
            "store": redis_url,
            "rabbitmq": {"url": node.url, **options},
            "worker": {"redelivery_grace": 1000},
        }
        with create_app(settings) as app:
            app.start()
            yield app

    return opened


def test_tls(certificates: Certificates, tls_port: int, node: RabbitMQNode, open_app: OpenApp) -> None:
    files = certificates
    own = {"cert": files.client_cert, "key": files.client_key}
    url = f"amqps://guest:guest@127.0.0.1:{tls_port}//"
    for accepted in ({"ca": files.ca, **own}, {"verify": False, **own}, {"ca": files.ca, "verify": True, **own}):
        driver = RabbitMQDriver({"url": url, "ssl": accepted}, namespace="tls")
        driver.init()
        driver.close()
    other_name = {"ca": files.ca, "serverName": "another.host", **own}
    for refused in ({"ca": files.stranger, **own}, {"ca": files.ca}, other_name, own, True):
        driver = RabbitMQDriver({"url": url, "ssl": refused}, namespace="tls")
        with pytest.raises(DriverUnavailable):
            driver.init()
    with pytest.raises(DriverUnavailable, match=r"(?i)certificate verify failed"):  # amqps:// alone verifies too
        RabbitMQDriver({"url": url}, namespace="tls").init()
    with open_app(url=url, ssl={"ca": files.ca, **own}) as app:
        queue = app.queue.create_queue("q")
        queue.process(lambda job: "done")
        assert queue.add("n").wait_until_finished(timeout=30) == "done"


def test_tls_as_celery_says_it(certificates: Certificates, tls_port: int, node: RabbitMQNode, redis_url: str) -> None:
    files, prefix = certificates, f"tls{uuid.uuid4().hex[:8]}"
    project = Celery("proj", broker=f"amqps://guest:guest@127.0.0.1:{tls_port}//", set_as_current=False)
    project.conf.task_default_queue = prefix
    project.conf.broker_use_ssl = {
        "ca_certs": files.ca,
        "certfile": files.client_cert,
        "keyfile": files.client_key,
        "cert_reqs": ssl.CERT_REQUIRED,
    }
    stratix = install(project, store=redis_url, namespace=prefix)
    define_plain(project)
    project.tasks["proj.add"].delay(1, 1)
    assert stratix.queue.engine.driver.depth(prefix) == 1
    assert dict(stratix.queue.engine.faults) == {}
    stratix.close()
    project.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ssl": {"verfy": False}}, "did you mean 'verify'?"),
        ({"ssl": {"cert": "x"}}, "belong together"),
        ({"ssl": "perhaps"}, "must be true or false"),
        ({"heartbeat": "often"}, "must be seconds"),
        ({"heartbeat": -1}, "must be seconds"),
        ({"heartbeat": 0.5}, "must be seconds, a whole number"),
        ({"heartbeat": 70_000}, "must be seconds, a whole number up to 65535"),
        ({"url": f"amqp://localhost/{'v' * 256}"}, "'vhost' must be at most 255 bytes"),
        ({"url": f"amqp://localhost/v;amqp://localhost/{'v' * 256}"}, "'vhost' must be at most 255 bytes"),
        ({"queue_name_prefix": "é" * 98}, "'queue_name_prefix' must be at most 195 bytes"),
        ({"queue_name_prefix": "a\nb"}, "without control characters, not 'a\\nb'"),
        ({"queue_name_prefix": "amq."}, "which the broker reserves"),
        ({"dead_letter_exchange": "d" * 256}, "'dead_letter_exchange' must be at most 255 bytes"),
        ({"max_priority": 256}, "'max_priority' must be from 0 to 255"),
        ({"max_priority": "many"}, "'max_priority' must be from 0 to 255"),
    ],
)
def test_what_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        RabbitMQDriver({"url": "amqp://localhost", **options}, namespace="n")
    assert words in str(refused.value)


def test_the_permissions_of_the_guide_are_enough(node: RabbitMQNode, redis_url: str) -> None:
    guide = Path("examples/guide/rabbitmq.md").read_text()
    said = shlex.split(next(part for part in guide.split("`") if part.startswith("rabbitmqctl set_permissions")))
    node.control("add_vhost", "shop")
    node.control("add_user", "worker", "secret")
    url = node.url.replace("guest:guest", "worker:secret").removesuffix("/") + "shop"
    node.control(*said[1:])
    settings = {"driver": "rabbitmq", "rabbitmq": {"url": url}, "store": redis_url, "namespace": "shop"}
    with create_app({**settings, "worker": {"redelivery_grace": 600_000}}) as app:
        queue = app.queue.create_queue("q")
        queue.process(lambda job: job.data)
        app.start()
        assert queue.add("n", 7).wait_until_finished(timeout=WAIT_S) == 7
        assert app.queue.engine.driver.depth("q") == 0
        assert dict(app.queue.engine.faults) == {}
    assert node.control("list_queues", "-p", "shop", "name").split()[-1] == "shop.q"


def test_what_is_wrong_with_a_queue_is_said_once(node: RabbitMQNode, redis_url: str) -> None:
    """Also where the part of the driver that declares a queue has said already where that is."""
    namespace = f"once{uuid.uuid4().hex[:8]}"
    plain = RabbitMQDriver({"url": node.url}, namespace=namespace)
    plain.declare("q")
    driver = RabbitMQDriver({"url": node.url, "quorum": True}, namespace=namespace)
    waiting = driver.watcher()
    for ask in (lambda: driver.receiver("q", 1).receive(1, 0), lambda: waiting.wait(["q"], 0.1)):
        with pytest.raises(DriverUnavailable) as raised:
            ask()
        assert raised.value.problem.startswith(f"queue '{namespace}.q' exists, declared with other arguments")
    waiting.close()
    for one in (driver, plain):
        one.close()


def test_the_longest_names_are_taken(node: RabbitMQNode) -> None:
    driver = RabbitMQDriver({"url": node.url, "queue_name_prefix": "p" * 195}, namespace="n")
    queue = "q" * 60
    driver.publish([Ready("a", queue, "n")])
    assert driver.purge(queue) == 1
    driver.close()


def test_a_connection_lives_while_all_slots_are_busy_and_while_the_worker_drains(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than two heartbeats, after which both sides give a connection up; and for longer than the broker's
    consumer timeout, which does not concern a job that runs."""
    # Both are far less than a broker's own timeout, half an hour; what is owed is seen when the connection is tended.
    monkeypatch.setattr(receiver, "OWED_S", CONSUMER_TIMEOUT_MS / 10_000)
    monkeypatch.setattr(pace, "TEND_S", CONSUMER_TIMEOUT_MS / 10_000)
    gates = [threading.Event() for _ in range(3)]
    with open_app(heartbeat=2) as app:
        queue = app.queue.create_queue("q", concurrency=2)
        began, ended = list[int](), list[int]()

        def handler(job: Any) -> None:
            began.append(job.data)
            gates[job.data].wait(60)
            ended.append(job.data)

        queue.process(handler)
        queue.add("n", 0)
        until(lambda: began == [0], WAIT_S)
        _wait(2.0)  # one slot is free: it consumes
        queue.add("n", 1)
        until(lambda: began == [0, 1], WAIT_S)
        queue.add("n", 2)
        _wait(5.5)  # none is free
        gates[1].set()
        until(lambda: began == [0, 1, 2], WAIT_S)
        gates[0].set()
        until(lambda: ended == [1, 0], WAIT_S)
        assert dict(app.queue.engine.faults) == {}
        closing = threading.Thread(target=queue.close)
        closing.start()
        _wait(5.5)
        gates[2].set()
        closing.join(30)
        assert ended == [1, 0, 2]
        assert began == [0, 1, 2], "each ran once"
        counts = app.queue.engine.store.queries.status("q").counts
        assert (counts["completed"], counts["active"], counts["waiting"]) == (3, 0, 0)
        assert dict(app.queue.engine.faults) == {}


def _wait(seconds: float) -> None:
    """Let heartbeats be missed, if they are."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, seconds + 60)


def test_a_broker_short_of_memory_loses_nothing_and_holds_nobody_up(node: RabbitMQNode, open_app: OpenApp) -> None:
    with open_app() as app:
        queue, errors, done = app.queue.create_queue("q"), list[BaseException](), list[Any]()
        queue.on("error", errors.append)
        waiting = app.queue.create_queue("waiting")
        for number in range(3):
            waiting.add("early", number)
        node.control("set_vm_memory_high_watermark", "absolute", "1")
        try:
            until(lambda: "memory" in node.control("eval", "rabbit_alarm:get_alarms()."), WAIT_S)
            jobs = [queue.add("late", number) for number in range(5)]
            jobs += queue.add_bulk([{"name": "late", "data": number} for number in range(5, 700)])
            until(lambda: any("short of memory or disk" in str(error) for error in errors), WAIT_S)
            assert queue.get_job_counts()["waiting"] == 700, "kept in the store"
            waiting.process(lambda job: done.append(job.data))
            until(lambda: sorted(done) == [0, 1, 2], WAIT_S)  # those who consume are served
            until(lambda: app.queue.engine.driver.depth("waiting") == 0, WAIT_S)  # and so is who asks
            assert app.queue.check_health()["driver"]
        finally:
            node.control("set_vm_memory_high_watermark", "0.8")
        queue.process(lambda job: job.data)
        until(lambda: queue.get_job_counts()["completed"] == 700, 60)
        assert jobs[699].wait_until_finished(timeout=WAIT_S) == 699
        errors.clear()
        assert queue.add("after", "after").wait_until_finished(timeout=30) == "after"
        assert errors == []


def test_a_message_that_a_quorum_queue_drops_after_many_deliveries_is_sent_again(
    node: RabbitMQNode, open_app: OpenApp
) -> None:
    """A policy of the broker limits how often a message may be given back; the store knows better."""
    with open_app(quorum=True) as app:
        queue, driver = app.queue.get_queue("q"), app.queue.engine.driver
        job = queue.add("n")
        pattern = driver.broker_queue("q").replace(".", "\\.")
        node.control("set_policy", "limit", f"^{pattern}$", '{"delivery-limit": 2}', "--apply-to", "queues")
        receiver = driver.receiver("q", 1)
        seen = 0

        def dropped() -> bool:
            nonlocal seen
            received: list[Delivery] = receiver.receive(1, 0.5)
            seen += len(received)
            receiver.give_back(received)
            return seen >= 3 and not received

        until(dropped, WAIT_S)
        receiver.close()
        queue.process(lambda job: "done")
        assert job.wait_until_finished(timeout=60) == "done"
        driver.publish([Ready(job.id, "q", "n")])  # and one that comes late changes nothing
        until(lambda: driver.depth("q") == 0, WAIT_S)
        assert job.refresh().attempts_started == 1
