"""``install``: three lines for an existing project."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from celery import Celery, group, signals
from kombu.utils.imports import symbol_by_name

from stratix_kombu.application import Application
from stratix_kombu.celery.awaitable import make_awaitable
from stratix_kombu.celery.backend import StratixBackend
from stratix_kombu.celery.bridge import Bridge, bridge_in_worker, bridge_of
from stratix_kombu.celery.broker import broker_settings, store_settings
from stratix_kombu.celery.canvas import Canvas
from stratix_kombu.celery.compat import (
    batch_canvas,
    forget_backend,
    keep_polling,
    look_at_parents_together,
    pickle_by_name,
    purge_jobs_too,
)
from stratix_kombu.celery.control import control_class, purge_jobs
from stratix_kombu.celery.file_broker import NAMESPACE, PREFIX, SCHEMES, FileDriver
from stratix_kombu.celery.jobs import register_jobs
from stratix_kombu.celery.join import register_join
from stratix_kombu.celery.panel import answer_for_the_store
from stratix_kombu.celery.receiving import ReceivingStep
from stratix_kombu.celery.steps import StratixStep
from stratix_kombu.celery.task import track
from stratix_kombu.config.redis_options import SERVERS, keepalive_options
from stratix_kombu.config.settings import load_settings, needs_a_store
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.drivers.registry import create_driver, known_drivers
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.message import TASK
from stratix_kombu.queue.manager import QueueManager
from stratix_kombu.stores.registry import open_store

if TYPE_CHECKING:
    from stratix_kombu.types import AppSettings, Unpack


def install(
    celery: Celery,
    source: str | Path | AppSettings | None = None,
    *,
    results: Literal["own", "also"] = "own",
    exclude: Sequence[str] = (),
    **options: Unpack[AppSettings],
) -> Application:
    """Install the bridge in a Celery application: from now on its tasks are tracked jobs.

    Driver and store are taken from its ``broker_url`` and ``broker_transport_options``; for a broker that cannot keep
    jobs (SQS, RabbitMQ) its ``result_backend`` is the store if that is a Redis. ``source`` and ``options`` are those of
    ``create_app`` and ``queue_plugin``, to override this (``store``, ``namespace``, ``worker``). With
    ``results="also"``, the outcome of tasks is stored in the ``result_backend`` too, for programs that read it there.
    Tasks whose names match a pattern of ``exclude``, or that say ``@app.task(stratix=False)``, stay as they are, as do
    those with a ``Strategy`` of their own (celery-batches). Returns the application whose ``queue`` shows the jobs; it
    is not to be started, for the Celery worker is the host. Settings are read with the first use, so ``celery`` may be
    configured later.

    Raises ConfigurationError: at once for a second bridge, with the first use for settings that cannot be used.

    >>> app = Celery("proj", broker="redis://localhost:6379/0")  # doctest: +SKIP
    >>> stratix = install(app)  # doctest: +SKIP
    """
    _check(celery, results, exclude)
    application = Application(source, plugin=lambda given, more: _manager(celery, given, {**options, **more}))
    bridge = Bridge(celery, application, results == "also", exclude)
    celery.stratix_bridge = bridge
    celery.backend_cls = StratixBackend
    forget_backend(celery)
    celery.send_task = bridge.publisher.send_task
    celery.control_cls = control_class(bridge, symbol_by_name(celery.control_cls))
    celery.__dict__.pop("control", None)
    celery.steps["worker"].add(StratixStep)
    celery.steps["consumer"].add(ReceivingStep)
    pickle_by_name(celery, _in_spawned_child, lambda: (bridge.claims.worker, bridge.claims.concurrency))
    register_join(celery)
    register_jobs(celery)
    _change_celery()

    def track_all(**_: Any) -> None:
        for task in list(celery.tasks.values()):
            if task.name != TASK and not bridge.leaves_out(task.name):
                track(bridge, task)

    celery.on_after_finalize.connect(track_all, weak=False)
    signals.worker_init.connect(track_all, weak=False)
    if celery.finalized:
        track_all()
    application.hook("before_close", lambda: _close(celery))
    celery.on_after_configure.connect(lambda **_: _configure(celery), weak=False)
    if celery.configured:
        _configure(celery)
    return application


def install_in_workers(
    celery: Celery,
    source: str | Path | AppSettings | None = None,
    *,
    results: Literal["own", "also"] = "own",
    exclude: Sequence[str] = (),
    **options: Unpack[AppSettings],
) -> None:
    """Install the bridge in workers alone, of Celery and of stratix_kombu: the other processes of the project stay as
    Celery alone, although they load the same code.

    It is the first step of a migration, and the last one of the way back: processes with this release and with the one
    before may run beside each other, in any order and over any time. Workers run the tasks of all as jobs, and write
    their outcomes to the ``result_backend``, too. What an application sends is a job as soon as ``install`` takes the
    place of this function. The commands see the jobs (``celery -A proj stratix leave``). Arguments and errors are those
    of ``install``.

    >>> app = Celery("proj", broker="redis://localhost:6379/0")  # doctest: +SKIP
    >>> install_in_workers(app)  # doctest: +SKIP
    """
    _check(celery, results, exclude)

    def begin() -> None:
        install(celery, source, results=results, exclude=exclude, **options)
        bridge = bridge_of(celery)
        assert bridge is not None
        bridge.sends_plainly = True

    def begin_in(instance: Any, **_: Any) -> None:
        if instance.app is celery:
            bridge_in_worker(celery)

    celery.stratix_in_workers = begin
    signals.celeryd_init.connect(begin_in, weak=False)


def _check(celery: Celery, results: str, exclude: Sequence[str]) -> None:
    if bridge_of(celery) is not None or "stratix_in_workers" in vars(celery):
        raise ConfigurationError(f"{celery!r} has the bridge already")
    if results not in ("own", "also"):
        raise ConfigurationError(f"results must be 'own' or 'also', not {results!r}")
    if isinstance(exclude, str):
        raise ConfigurationError(f"exclude must be a list of patterns, not {exclude!r}")


def _change_celery() -> None:
    """What concerns the applications of a process all together; once in it."""
    batch_canvas(_scope)
    purge_jobs_too(_purge)
    answer_for_the_store()
    look_at_parents_together()
    make_awaitable()


_REDIS_OPTIONS: Mapping[str, Any] = {
    "ack_emulation": False,
    # A connection that was lost without a word is noticed within seconds; Kombu's own defaults are 25 and forever.
    "health_check_interval": 5,
    "socket_timeout": 5.0,
    "socket_keepalive": True,
    "socket_keepalive_options": keepalive_options(5000),
}
"""Transport options of Kombu, unless the application sets others."""


class StratixCelery(Celery):
    """A Celery application with the bridge; ``stratix`` holds the options of ``install``.

    >>> app = StratixCelery("proj", broker="sqs://", stratix={"store": "redis://localhost"})  # doctest: +SKIP
    >>> app.stratix.queue.get_queue("celery").get_job_counts()  # doctest: +SKIP
    """

    def __init__(self, *args: Any, stratix: AppSettings | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stratix = install(self, **(stratix or {}))


def _in_spawned_child(celery: Celery, worker: str, concurrency: int) -> Celery:
    """A child of a worker's pool claims in the worker's name, as a forked one does."""
    bridge = bridge_in_worker(celery)
    assert bridge is not None
    bridge.claims.worker, bridge.claims.concurrency = worker, concurrency
    return celery


def _close(celery: Celery) -> None:
    bridge = bridge_of(celery)
    assert bridge is not None
    bridge.claims.stop()
    celery.backend.close()


def _purge(celery: Any, queues: list[str]) -> None:
    bridge = bridge_of(celery)
    if bridge is not None:
        purge_jobs(bridge, queues)


def _scope(canvas: Any) -> Any:
    bridge = bridge_of(canvas.app)
    if bridge is None or canvas.app.conf.task_always_eager:
        return nullcontext()
    return bridge.publisher.batch() if isinstance(canvas, group) else bridge.publisher.chord()


def _configure(celery: Celery) -> None:
    """The store recovers messages, so Celery's own emulation of acknowledgements on Redis is only a cost. It rejects
    duplicates, so nothing is gained by prefetching less after a reconnect; and Celery 5.7 restores the prefetch count
    from a pool thread, which consumes replies that the worker waits for: on RabbitMQ it then hangs."""
    conf = celery.conf
    conf.worker_enable_prefetch_count_reduction = False
    transport = str(conf.broker_url or "").partition("://")[0]
    if transport == "sqs":
        from kombu.transport.SQS import Channel

        keep_polling(Channel)
    if transport in SERVERS:
        conf.broker_channel_error_retry = True  # a demoted server answers READONLY: the worker reconnects
        conf.broker_transport_options = {**_REDIS_OPTIONS, **(conf.broker_transport_options or {})}


def _manager(celery: Celery, source: Any, options: Mapping[str, Any]) -> QueueManager:
    conf = celery.conf
    broker = conf.broker_write_url or conf.broker_url or "memory://"
    urls = ";".join(broker) if isinstance(broker, (list, tuple)) else str(broker)
    transport_options = dict(conf.broker_transport_options or {})
    read = {} if "driver" in options else broker_settings(conf, urls)
    named = {**read, **options}
    for name in read.keys() & options.keys() & {"redis", "rabbitmq"}:
        named[name] = {**read[name], **options[name]}
    if "store" not in named and not _keeps_jobs(named["driver"]):
        results = str(conf.result_backend or "")
        if results.partition("://")[0] in SERVERS:
            named["store"] = store_settings(conf, results)
    # A stratix.toml found there may belong to another program: the project's settings are Celery's.
    source = source if source is not None else os.environ.get("STRATIX_CONFIG") or {}
    settings = load_settings(source, named, os.environ, [*known_drivers()])
    if not settings.store:
        raise needs_a_store(settings.driver)
    settings = replace(settings, origin=_origin(settings.origin, options))
    if settings.driver.partition("://")[0] in SCHEMES:  # the project's workers look there
        conf.broker_transport_options = {**transport_options, NAMESPACE: settings.namespace}
    driver = _driver(celery, settings.driver, dict(settings.driver_options), transport_options, settings.namespace)
    store = open_store(settings.store, namespace=settings.namespace)
    manager = QueueManager(settings, driver, store)
    bridge = bridge_of(celery)
    assert bridge is not None
    manager.canvas = Canvas(bridge)
    return manager


def _origin(origin: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, str]:
    """Settings that were not given as arguments were read from Celery's configuration."""
    read = {"driver": "broker_url", "redis": "broker_url", "rabbitmq": "broker_url", "store": "result_backend"}
    found = dict(origin)
    for path, said in origin.items():
        top = path.partition(".")[0]
        if said == "argument" and top in read and top not in options:
            found[path] = read[top]
    return found


def _keeps_jobs(driver: str) -> bool:
    return driver.partition("://")[0] in (*SERVERS, "memory")


def _driver(
    celery: Celery, name: str, options: dict[str, Any], transport_options: dict[str, Any], namespace: str
) -> KombuDriver:
    """The driver that puts messages where this application's workers look for them."""
    scheme = name.partition("://")[0]
    if scheme in SCHEMES:
        options = {"url": name.removeprefix(PREFIX), "queue_name_prefix": ""}
        made = FileDriver(options, namespace=namespace)
        made.entities = celery.amqp.queues
        return made
    if scheme in SERVERS:
        options.setdefault("queue_name_prefix", transport_options.get("global_keyprefix", ""))
        options.update({one: transport_options[one] for one in ("priority_steps", "sep") if one in transport_options})
    elif scheme == "sqs":
        options.setdefault("queue_name_prefix", transport_options.get("queue_name_prefix", ""))
        options.setdefault("priorities", False)  # a worker takes from the queues that were named, all alike
    else:
        options.setdefault("queue_name_prefix", "")
    driver = create_driver(name, options, namespace=namespace)
    if not isinstance(driver, KombuDriver):
        raise ConfigurationError(f"the bridge needs a driver on a Kombu transport, not {name!r}")
    if scheme not in SERVERS:
        driver.transport_options.update(transport_options)
    driver.entities = celery.amqp.queues
    return driver


__all__ = ["StratixCelery", "install", "install_in_workers"]
