"""What the bridge changes for an application that exists: read from its configuration and its tasks, with or without
the bridge; nothing is connected to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from celery import Celery

from stratix_kombu.celery.bridge import bridge_of, leaves_out
from stratix_kombu.celery.sandbox_options import OPTION, is_sandboxed
from stratix_kombu.celery.without_effect import settings_without_effect
from stratix_kombu.config.redis_options import SERVERS

VISIBILITY_S = {**dict.fromkeys(SERVERS, 3600), "sqs": 1800}
"""How long a message may be held before it is delivered again, unless the project configures it."""
CONSUMER_S = 1800
"""RabbitMQ closes the channel of a consumer that has held a message for this long."""
NAMED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One subject: what the project has, and what becomes of it."""

    subject: str
    found: str
    alone: str
    """What happens by Celery alone."""
    bridged: str
    """What happens with the bridge."""


def review(app: Celery) -> list[Finding]:
    """What the bridge changes, or has changed, for this application.

    >>> for finding in review(app):  # doctest: +SKIP
    ...     print(finding.subject, finding.found)
    """
    app.loader.import_default_modules()
    app.finalize(auto=True)
    conf = app.conf
    broker = conf.broker_write_url or conf.broker_url or "amqp://"
    broker = broker[0] if isinstance(broker, (list, tuple)) else str(broker)
    scheme = broker.partition("://")[0]
    return [
        _bridge(app, scheme),
        _delays(app, scheme),
        _chords(conf),
        _remote_control(conf, scheme),
        *_acknowledgements(app),
        *_lost_and_late(app),
        _results(app),
        _queues(conf),
        *_beat(conf),
        *_rate_limits(app),
        *_sandboxed(app),
        *_eager(conf),
        *_acks_on_redis(conf, scheme),
        *_left_out(app),
        *_protocol(conf),
        *_without_effect(conf),
    ]


def _tasks(app: Celery) -> Iterator[Any]:
    """The project's own, not those that Celery and the bridge bring."""
    for name, task in sorted(app.tasks.items()):
        if not name.startswith(("celery.", "stratix.")):
            yield task


def _count(names: list[str]) -> str:
    return f"{len(names)} task{'s' * (len(names) != 1)} ({_named(names)})"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _bridge(app: Celery, scheme: str) -> Finding:
    has, in_workers = bridge_of(app) is not None, "stratix_in_workers" in vars(app)
    results = str(app.conf.result_backend or "").partition("://")[0]
    bridged = "they are jobs of the store, which the commands of stratix-kombu show and change"
    if in_workers:
        bridged = "jobs of the store in the workers, which take what is sent as Celery alone sends it"
    elif not has:
        keeps = any(one in (*SERVERS, "memory") for one in (scheme, results))
        bridged += f"; it takes one call: stratix_kombu.celery.install(app{'' if keeps else ', store=redis://...'})"
    installed = "installed in workers" if in_workers else "installed" if has else "not installed"
    found = f"{installed}, {_count([task.name for task in _tasks(app)])}"
    return Finding("bridge", found, "tasks are messages of the broker", bridged)


def _delays(app: Celery, scheme: str) -> Finding:
    with_bridge = "kept in the store until they are due: of any length, and in no worker's memory"
    if scheme not in VISIBILITY_S:
        alone = f"held by a worker; beyond RabbitMQ's consumer_timeout ({CONSUMER_S} s) it closes the channel"
        return Finding("countdown, eta, retry delays", f"{scheme} broker", alone, with_bridge)
    given = (app.conf.broker_transport_options or {}).get("visibility_timeout")
    timeout = float(VISIBILITY_S[scheme] if given is None else given)
    long = [task.name for task in _tasks(app) if (task.default_retry_delay or 0) >= timeout]
    found = f"visibility_timeout {timeout:g} s{' (default)' if given is None else ''}"
    if long:
        found += f"; default_retry_delay beyond it: {_named(long)}"
    alone = "held in a worker's memory; one longer than that is delivered again and runs more than once"
    return Finding("countdown, eta, retry delays", found, alone, with_bridge)


def _chords(conf: Any) -> Finding:
    backend = str(conf.result_backend or "").partition("://")[0] or "disabled"
    if backend in ("disabled", "rpc"):
        alone = f"not possible with the result backend {backend!r}"
    elif backend in SERVERS:
        alone = "counted in the result backend; a worker that dies at the wrong time loses the body"
    else:
        alone = "a task polls the result backend every second until the header is done"
    return Finding("chords", f"result backend {backend}", alone, "the body is a job that depends on its header's")


def _remote_control(conf: Any, scheme: str) -> Finding:
    found = f"{scheme} broker" + ("" if conf.worker_enable_remote_control else ", switched off")
    if scheme != "sqs":
        return Finding(
            "remote control",
            found,
            "revoke is kept in the workers' memory, and forgotten when they restart",
            "revoke ends the job in the store; the rest (inspect, ping) as before",
        )
    return Finding(
        "remote control",
        found,
        "none on SQS: no revoke, inspect, ping, events",
        "revoke works, through the store; events and workers: 'stratix-kombu events' and 'queues'; no inspect or ping",
    )


def _acknowledgements(app: Celery) -> Iterator[Finding]:
    late = [task.name for task in _tasks(app) if task.acks_late]
    early = [task.name for task in _tasks(app) if not task.acks_late]
    if early:
        yield Finding(
            "acks_late=False",
            _count(early),
            "a worker that is killed loses the task silently",
            "the task fails (WorkerLostError) when its lease expires, and its dependents are notified",
        )
    if late:
        yield Finding(
            "acks_late=True",
            _count(late),
            "delivered again when the broker notices; on Redis and SQS after visibility_timeout, even while it runs",
            "run again when the lease ends (30 s, renewed while it runs); a second delivery is refused",
        )


def _lost_and_late(app: Celery) -> Iterator[Finding]:
    """What is to become of a task whose process was lost, or that has exceeded its hard time limit."""
    rejecting = [task.name for task in _tasks(app) if task.acks_late and task.reject_on_worker_lost]
    if asked := _asked(app, {"task_reject_on_worker_lost": True}, rejecting):
        yield Finding(
            "reject_on_worker_lost",
            asked,
            "put back when a process of the pool is killed, without end",
            "put back as well, max_stalled_count times (once); then it has failed",
        )
    retried = [task.name for task in _tasks(app) if task.retry_on_worker_lost]
    if asked := _asked(app, {"task_retry_on_worker_lost": True}, retried):
        yield Finding(
            "retry_on_worker_lost",
            asked,
            "sent again after default_retry_delay, if its process was lost",
            "run again when the lease ends (30 s), up to max_retries times, also if the whole worker was lost; "
            "request.retries stays",
        )
    settings = dict.fromkeys(("task_acks_on_timeout", "task_acks_on_failure_or_timeout"), False)
    again = [task.name for task in _tasks(app) if task.acks_late and not task.acks_on_timeout]
    if asked := _asked(app, settings, again):
        yield Finding(
            "acks_on_timeout=False",
            asked,
            "a task that exceeds its hard time limit runs again; it has failed meanwhile, with errbacks and chord",
            "runs again; is pending meanwhile",
        )


def _asked(app: Celery, settings: dict[str, bool], names: list[str]) -> str:
    """Which of these settings the project has given these values, and which tasks are concerned; '' if none is."""
    given = [f"{name} {value}" for name, value in settings.items() if app.conf[name] is value]
    return "; ".join([*given, *([_count(names)] if names else [])])


def _results(app: Celery) -> Finding:
    conf = app.conf
    found = f"result_expires {conf.result_expires}, task_ignore_result {bool(conf.task_ignore_result)}"
    bridge = bridge_of(app)
    backend = bridge.previous_backend_cls if bridge else None
    own = str(backend or conf.result_backend or "disabled").partition("://")[0]
    return Finding(
        "results",
        found,
        f"in the result backend ({own})",
        "in the job's record, for that long; AsyncResult reads it there. Programs that read the old "
        "backend directly find only results of tasks sent by producers without the bridge; install(app, "
        "results='also') stores all results there",
    )


def _queues(conf: Any) -> Finding:
    names = [getattr(queue, "name", str(queue)) for queue in conf.task_queues or ()]
    found = f"task_default_queue {conf.task_default_queue}" + (f", task_queues {_named(names)}" if names else "")
    return Finding(
        "queues",
        found,
        "lists of messages, as long as the broker says",
        "the same names: 'stratix-kombu queues'; pause, limits and metrics of each. Broadcasts and exchanges of other "
        "types than direct are sent as before, and not tracked",
    )


def _beat(conf: Any) -> Iterator[Finding]:
    if conf.beat_schedule:
        yield Finding(
            "beat_schedule",
            f"{len(conf.beat_schedule)} entries ({_named(sorted(map(str, conf.beat_schedule)))})",
            "one beat; two send everything twice",
            "'celery -A proj beat -S stratix': any number, each time is sent once",
        )


def _rate_limits(app: Celery) -> Iterator[Finding]:
    limited = [task.name for task in _tasks(app) if task.rate_limit]
    if limited:
        yield Finding(
            "rate_limit",
            _count(limited),
            "for each worker separately, in its memory",
            "still so; the option 'limiter' of a queue or job holds over all workers",
        )


def _sandboxed(app: Celery) -> Iterator[Finding]:
    names = [task.name for task in _tasks(app) if is_sandboxed(task)]
    if names:
        yield Finding(
            OPTION,
            _count(names),
            "no effect",
            "each runs in a child process of 'stratix-kombu worker -A'; no effect in 'celery worker', which has its "
            "prefork pool for that",
        )


def _eager(conf: Any) -> Iterator[Finding]:
    if conf.task_always_eager:
        yield Finding("task_always_eager", "on", "tasks run where they are called", "the same: no jobs are made")


def _acks_on_redis(conf: Any, scheme: str) -> Iterator[Finding]:
    options = conf.broker_transport_options or {}
    if scheme in SERVERS:
        emulated = options.get("ack_emulation", True)
        yield Finding(
            "acknowledgements on Redis",
            f"ack_emulation {emulated}",
            "a copy of each message in a second list, restored after the visibility timeout",
            "off unless broker_transport_options says True: the store recovers lost messages, and a task "
            "costs one command instead of nine",
        )


def _left_out(app: Celery) -> Iterator[Finding]:
    bridge = bridge_of(app)
    names = [
        task.name for task in _tasks(app) if leaves_out(task) or (bridge is not None and bridge.leaves_out(task.name))
    ]
    if names:
        yield Finding(
            "left out", _count(names), "run as ever", "the same: excluded, stratix=False, or a Strategy of their own"
        )


def _protocol(conf: Any) -> Iterator[Finding]:
    if conf.task_protocol == 1:
        yield Finding("task_protocol", "1", "messages as of Celery 3", "refused: 2 is needed, which is the default")


def _without_effect(conf: Any) -> Iterator[Finding]:
    for name, why in settings_without_effect(conf):
        yield Finding(name, repr(conf[name]), "read", f"no effect: {why}")
