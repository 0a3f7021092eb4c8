"""What ``install`` takes from a project's configuration, and what it refuses."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task, group, shared_task
from celery.app.backends import by_name
from celery.exceptions import TimeoutError as CeleryTimeoutError

from stratix_kombu import ConfigurationError, PayloadTooLarge
from stratix_kombu.celery import StratixCelery, batch, install
from stratix_kombu.celery.backend import StratixBackend
from stratix_kombu.celery.broker import broker_settings, store_settings
from tests.celery.project import sqs_broker
from tests.waiting import WAIT_S, until


def make(broker: str = "memory://", **conf: Any) -> Celery:
    app = Celery("inst", broker=broker, set_as_current=False)
    app.conf.update(conf)
    return app


def test_driver_and_store_come_from_the_broker(redis_url: str) -> None:
    app = make(redis_url)
    stratix = install(app, namespace="inst")
    assert stratix.queue.describe().startswith("redis (store redis://")
    assert app.conf.broker_transport_options["ack_emulation"] is False
    assert isinstance(app.backend, StratixBackend)
    assert app.backend.as_uri().startswith("stratix://")


def test_what_the_project_says_of_its_broker_is_kept(redis_url: str) -> None:
    app = make(redis_url, broker_transport_options={"ack_emulation": True, "global_keyprefix": "mine:"})
    stratix = install(app)
    assert app.conf.broker_transport_options["ack_emulation"] is True
    assert stratix.queue.engine.driver.broker_queue("celery") == "mine:celery"  # type: ignore[attr-defined]


def test_a_broker_that_keeps_nothing_takes_the_result_backend_as_store(redis_url: str) -> None:
    stratix = install(make("amqp://guest:guest@localhost//", result_backend=redis_url))
    assert stratix.queue.describe().startswith("rabbitmq (store redis://")
    with pytest.raises(ConfigurationError, match="needs a 'store'"):
        install(make("sqs://", broker_transport_options={"region": "eu-west-1"})).queue  # noqa: B018
    named = install(make("sqs://"), store="memory://")
    assert named.queue.describe() == "sqs (store memory://)"


def test_a_settings_file_that_lies_there_is_not_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    """It may be that of another program of the same repository."""
    file = tmp_path / "stratix.toml"
    file.write_text('driver = "redis"\nnamespace = "another"\n[redis]\nhost = "away"\nport = 1\n')
    monkeypatch.chdir(tmp_path)
    assert install(make(redis_url)).queue.settings.namespace == "stratix"
    assert install(make("memory://"), str(file)).queue.settings.namespace == "another"
    monkeypatch.setenv("STRATIX_CONFIG", str(file))
    assert install(make("memory://")).queue.settings.namespace == "another"


def test_what_was_closed_can_be_opened_again(redis_url: str) -> None:
    """A web process that sends tasks opens and closes the application with each of its lifespans."""
    app = make(redis_url)
    stratix = install(app, namespace=f"inst{uuid.uuid4().hex[:8]}")

    @app.task(shared=False, name="again.add")
    def add(x: int, y: int) -> int:
        return x + y

    for number in range(2):
        with stratix:
            result = add.delay(number, 1)
            assert result.state == "PENDING"
            job = stratix.queue.get_queue("celery").get_job(result.id)
            assert job is not None
            with pytest.raises(CeleryTimeoutError):
                result.get(timeout=0.05)
            result.revoke()
            assert result.state == "REVOKED"
    app.close()


@pytest.mark.parametrize(
    ("url", "plain", "tls"),
    [
        ("rediss://h/0?ssl_cert_reqs=CERT_NONE", "rediss://h/0", {"verify": False}),
        ("rediss://h/0?ssl_cert_reqs=none", "rediss://h/0", {"verify": False}),
        (
            "rediss://h/2?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=%2Fetc%2Fca",
            "rediss://h/2",
            {"verify": True, "ca": "/etc/ca"},
        ),
        ("redis://h?virtual_host=3&socket_timeout=5", "redis://h/3", None),
        ("redis://user:pass@h:1/0", "redis://user:pass@h:1/0", None),
        ("redis+socket:///run/r.sock?virtual_host=/2&socket_timeout=5", "redis+socket:///run/r.sock?db=2", None),
        ("redis+socket://:pass@/run/r.sock", "redis+socket://:pass@/run/r.sock", None),
    ],
)
def test_redis_urls_as_celery_takes_them(url: str, plain: str, tls: Any) -> None:
    app = make(url, result_backend=url)
    settings = broker_settings(app.conf, url)
    if tls is None:
        assert (settings, store_settings(app.conf, url)) == ({"driver": plain}, plain)
    else:
        wanted = {"url": plain, "ssl": tls}
        assert (settings, store_settings(app.conf, url)) == ({"driver": "redis", "redis": wanted}, wanted)
    assert install(app).queue.describe().startswith("redis ")


def test_configuration_may_come_later() -> None:
    app = Celery("later", set_as_current=False)
    stratix = install(app, worker={"max_stalled_count": 3})
    app.conf.broker_url = "memory://"
    assert stratix.queue.settings.worker.max_stalled_count == 3
    assert stratix.queue.describe() == "memory (store memory://)"


def test_options_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'namespace'"):
        install(make(), namespce="x").queue  # noqa: B018
    app = make()
    install(app)
    with pytest.raises(ConfigurationError, match="has the bridge already"):
        install(app)


def test_the_class_installs_itself() -> None:
    app = StratixCelery("cls", broker="memory://", set_as_current=False, stratix={"namespace": "cls"})
    assert app.stratix.queue.settings.namespace == "cls"


def test_the_backend_is_known_by_entry_point() -> None:
    assert by_name("stratix") is StratixBackend
    app = make(result_backend="stratix://")
    with pytest.raises(Exception, match="needs the bridge"):
        app.AsyncResult("x").state  # noqa: B018


def test_tasks_of_every_kind_get_the_seam() -> None:
    app = make()

    class Base(Task):
        calls: list[str] = []  # noqa: RUF012

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            self.calls.append("own")
            return super().__call__(*args, **kwargs)

    @app.task(base=Base, shared=False)
    def early(x: int) -> int:
        return x

    install(app)

    @app.task(shared=False)
    def late(x: int) -> int:
        return x

    @shared_task(name="inst.shared")
    def shared() -> None: ...

    app.finalize()
    names = [early.name, late.name, "inst.shared", "celery.backend_cleanup"]
    assert all(type(app.tasks[name]).__mro__[1].__name__ == "TrackedTask" for name in names)
    assert (early(1), late(2), Base.calls) == (1, 2, ["own"])
    assert early.apply((5,)).get() == 5


def test_messages_are_as_celery_sends_them(redis_url: str) -> None:
    """Every reader of the broker's queue, a worker without the bridge too, finds what Celery would have put there."""
    name = f"inst{uuid.uuid4().hex[:8]}"
    app = make(redis_url, task_default_queue=name)
    stratix = install(app, namespace=name)
    app.send_task("any.task", (1,), {"k": 2}, priority=3, headers={"mine": 1}, link=app.signature("any.other"))
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue(name).get(timeout=WAIT_S)
        args, kwargs, embed = message.payload
        assert (args, kwargs, embed["callbacks"][0]["task"]) == ([1], {"k": 2}, "any.other")
        assert (message.headers["task"], message.headers["mine"], message.headers["eta"]) == ("any.task", 1, None)
        assert (message.properties["priority"], message.headers["stratix"]) == (3, name)
        assert json.loads(message.body)[0] == [1]
        message.ack()
    assert [job.opts["priority"] for job in stratix.queue.get_queue(name).get_jobs("waiting")] == [3]


def test_compressed_and_pickled_messages_are_carried_as_they_are(redis_url: str) -> None:
    name = f"inst{uuid.uuid4().hex[:8]}"
    app = make(redis_url, task_default_queue=name, task_serializer="pickle", accept_content=["pickle", "json"])
    stratix = install(app, namespace=name)
    sent = app.send_task("any.task", ({1, 2},), compression="zlib")
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue(name, accept=["pickle"]).get(timeout=WAIT_S)  # type: ignore[call-arg]
        message.accept = {"application/x-python-serialize"}
        assert message.decode()[0] == ({1, 2},)
        message.ack()
    job = stratix.queue.get_queue(name).get_job(sent.id)
    assert job is not None
    assert job.data is None  # nothing is unpickled to look at it


def test_a_compression_that_kombu_does_not_know(redis_url: str) -> None:
    """Celery raises Kombu's OperationalError, which says no more than the name."""
    name = f"inst{uuid.uuid4().hex[:8]}"
    app = make(redis_url, task_default_queue=name)
    stratix = install(app, namespace=name)
    with pytest.raises(ConfigurationError, match=r"'compression': Kombu knows no 'gzi'; did you mean 'gzip'\?"):
        app.send_task("any.task", compression="gzi")
    with pytest.raises(ConfigurationError, match=r"Kombu knows no 'none-such'; known: .*application/x-gzip"):
        app.send_task("any.task", compression="none-such")
    assert stratix.queue.get_queue(name).get_jobs() == []


def test_a_broadcast_is_no_job(redis_url: str) -> None:
    from kombu.common import Broadcast

    name = f"inst{uuid.uuid4().hex[:8]}"
    app = make(redis_url, task_queues=[Broadcast(name)], task_routes={"any.task": {"queue": name, "exchange": name}})
    stratix = install(app, namespace=name)
    result = app.send_task("any.task")
    assert stratix.queue.get_queue("celery").get_job(result.id) is None


def test_a_task_for_workers_without_the_bridge_has_completed_when_it_is_sent(redis_url: str) -> None:
    from stratix_kombu import create_app

    name = f"inst{uuid.uuid4().hex[:8]}"
    plain = make(redis_url)

    @plain.task(shared=False, name="plain.add")
    def add(x: int, y: int) -> int:
        return x + y

    with create_app({"driver": "redis", "redis": {"url": redis_url}, "namespace": name}) as app:
        app.start()
        queue = app.queue.get_queue("tasks")
        job = queue.add(add, {"x": 1, "y": 2}, delay=20)
        task_id = job.wait_until_finished(timeout=10)
        with plain.connection_for_read() as connection:
            message = connection.SimpleQueue(f"{name}.tasks").get(timeout=WAIT_S)
            assert message.headers["id"] == task_id
            assert message.payload[1] == {"x": 1, "y": 2}
            assert "stratix" not in message.headers
            message.ack()
        queue.pause()
        parked = queue.add(add, [3, 4])
        assert parked.get_state() == "waiting"
        queue.resume()
        until(lambda: parked.get_state() == "completed", WAIT_S)
        with pytest.raises(ConfigurationError, match="has its own number of retries"):
            queue.add(add, attempts=3)
        with pytest.raises(ConfigurationError, match="must be a mapping of its keyword arguments"):
            queue.add(add, "text")


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ({"a": [], "b": [], "c": ["a", "b"], "d": ["b"]}, "the edge b -> c joins parts"),
        ({"a": [], "b": ["a"], "c": ["a", "b"]}, "the edge a -> c prevents it"),
    ],
)
def test_a_graph_that_is_no_canvas_names_the_edge(edges: dict[str, list[str]], words: str) -> None:
    app = make()
    prefix = uuid.uuid4().hex[:6]
    stratix = install(app, namespace=prefix)
    app.task(shared=False, name="any.task")(print)
    flow = stratix.queue.add_flow(
        [
            {"key": key, "name": "any.task", "queue": "q", "dependencies": before, "opts": {"jobId": f"{prefix}{key}"}}
            for key, before in edges.items()
        ]
    )
    with pytest.raises(ConfigurationError) as refused:
        flow.to_canvas()
    assert words in str(refused.value).replace(prefix, "")
    alone = stratix.queue.add_flow({"name": "unknown", "queue": "q"})
    with pytest.raises(ConfigurationError, match="is no Celery task"):
        alone.to_canvas()


def test_a_message_that_sqs_would_refuse_is_refused_at_once(sqs_url: str, redis_url: str) -> None:
    app = make(sqs_broker(sqs_url), broker_transport_options={"region": "us-east-1", "is_secure": False})
    stratix = install(app, store=redis_url, namespace=uuid.uuid4().hex[:8])
    name = f"large{uuid.uuid4().hex[:6]}"
    app.conf.task_default_queue = name
    with pytest.raises(PayloadTooLarge, match=r"message of task 'any\.task' has 9"):
        app.send_task("any.task", ("x" * 900_000,))
    assert not stratix.queue.get_queue(name).get_jobs()
    sent = app.send_task("any.task", ("x" * 700_000,))
    kept = stratix.queue.get_queue(name).get_job(sent.id)
    assert kept is not None
    assert kept.state == "waiting"


def test_a_queue_that_is_not_predefined_is_refused_at_once(
    sqs_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tasks would wait forever: nobody can send their messages."""
    monkeypatch.setattr(batch, "PAGE_S", 60.0)  # of a group that takes long, the first tasks are added before the last
    name = f"known{uuid.uuid4().hex[:6]}"
    options = {"region": "us-east-1", "is_secure": False}
    app = make(sqs_broker(sqs_url), broker_transport_options={**options, "predefined_queues": {name: {"url": sqs_url}}})
    stratix = install(app, store=redis_url, namespace=uuid.uuid4().hex[:8])
    app.conf.task_default_queue = name
    sent = app.send_task("any.task")
    with pytest.raises(ConfigurationError, match="'other' is not in 'predefined_queues'"):
        app.send_task("any.task", queue="other")
    with pytest.raises(ConfigurationError, match="'other' is not in 'predefined_queues'"):
        group(app.signature("any.task"), app.signature("any.task", queue="other")).apply_async()
    assert [job.id for job in stratix.queue.get_queue(name).get_jobs()] == [sent.id]
