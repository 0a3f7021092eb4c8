"""``send_task`` of an application with the bridge: the one place that sees every task published, from wherever."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from celery import Celery, Task
from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.common import Broadcast
from kombu.exceptions import OperationalError

from stratix_kombu.celery.batch import Batch, Pages, awaited_in, current, first_of, results_in, within
from stratix_kombu.celery.mirror import Sending, sending, sent
from stratix_kombu.celery.plain import forwarding
from stratix_kombu.celery.references import shorten
from stratix_kombu.config.options import instant, keyed, limit_of, milliseconds
from stratix_kombu.drivers.native import KeepingProducer, Published, envelope
from stratix_kombu.drivers.rest import named_in
from stratix_kombu.errors import ConfigurationError, JobIdTaken, PayloadTooLarge, StoreUnavailable
from stratix_kombu.lifecycle.add import add
from stratix_kombu.model.names import join_id, task_job_id
from stratix_kombu.model.record import JOIN, KEEP_NONE, Limit, NewJob, Placed, Retention
from stratix_kombu.model.tasks import BY_NAME, TRACKED

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge

RESULT = "celery.result"
"""The name of a record that only holds the stored result of a task."""
NOT_TRACKED = ""
"""Value of the header for messages that are not jobs: every worker that receives one runs it."""
LEAST_S = -(2**31)
"""Celery takes no smaller countdown."""
DUE = "stratix_eta"
"""Header with the time of a delayed task. That time is past when the message is sent: in Celery's own header, a worker
would hold the message for another moment."""
Carried = list[tuple[str, str]]
"""Ids and names of jobs that a task will add when it ends."""
_ROUTING = ("queue", "exchange", "exchange_type", "routing_key")


class Publisher:
    """Turns what Celery would publish into jobs of the store."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._app: Celery = bridge.celery
        self._own = vars(self._app).get("send_task")
        self._limits: dict[str, Limit | None] = {}
        """By name of a task: its ``stratix_limiter``."""
        self._queues: set[str] = set()
        """Those that the broker can have, as far as the driver knows."""
        self._given: tuple[Callable[[], Any], bool] = (lambda: None, True)
        """The last connection that was given for a task, and whether it leads to this broker."""

    def _original(self, *args: Any, **kwargs: Any) -> Any:
        """What the application would call without the bridge: its class's own, in front of which others may put theirs
        at any time."""
        return self._own(*args, **kwargs) if self._own else type(self._app).send_task(self._app, *args, **kwargs)

    # -- the seam -------------------------------------------------------------------------------

    def send_task(
        self, name: str, args: Any = None, kwargs: Any = None, countdown: Any = None, eta: Any = None, **options: Any
    ) -> Any:
        """As ``Celery.send_task``; the task is added to the store, which sends its message when it is time."""
        self.retention(False)  # refuses settings that cannot be used, before anything is done
        producer = options.pop("producer", None) or options.pop("publisher", None)
        connection = options.pop("connection", None)
        ours, how = self._is_ours(connection or getattr(producer, "connection", None)), sending(self._bridge)
        if not ours:
            send = partial(self._original, name, args, kwargs, countdown, eta, **options)
            return send(producer=producer, connection=connection)
        if self._bridge.leaves_out(name) and how is not Sending.PLAIN:
            options["headers"] = {**(options.get("headers") or {}), TRACKED: NOT_TRACKED}
            return self._send_as_it_is(partial(self._original, name, args, kwargs, countdown, eta, **options), options)
        given = options.get("task_id")
        if given:
            options["task_id"] = str(given)  # a UUID, for example
        if how is Sending.TRACKED:
            shorten(options)
        due = self.due(countdown, eta)
        tell = partial(self._publish_now, producer, due)
        keeping = KeepingProducer(self._connection, tell, self._app.amqp.queues)
        result = self._original(name, args, kwargs, producer=keeping, **options)
        published = keeping.kept
        assert published is not None
        if published.queue is None or isinstance(options.get("queue"), Broadcast):
            self._mark_untracked(published, due, how)
            send = partial(self._send_untracked, published, producer, connection)
            if (batch := current()) is not None:
                batch.send(send)
            else:
                send()
            return result
        if due:
            published.headers[DUE] = due
        if how is not Sending.TRACKED:
            with self.batch() as batch:
                batch.put(forwarding(self.new_job(published, [], countdown, eta), published))
            return result
        with self.batch() as batch:
            awaited = isinstance(batch, Pages) and batch.at_end is not None
            if self._bridge.task(name) is None:
                published.headers[BY_NAME] = True
            carried, behind = self.carried(options.get("chain") or ())
            batch.jobs += [self.place(job_id, anew=True) for job_id in behind]
            batch.put(self.new_job(published, carried, countdown, eta, awaited, fresh=not given), carried)
        return result

    def is_early(self, eta: Any) -> bool:
        """Whether it is not yet time."""
        return self._when(None, eta)[1] > time.time() * 1000

    def _send_as_it_is(self, send: Callable[[], Any], options: Mapping[str, Any]) -> Any:
        """Send a task that is not a job. If a join waits for it, or for what it sends, there is a placeholder first."""
        awaited = [one for step in options.get("chain") or () for one in awaited_in(step)]
        if options.get("chord"):
            awaited.append(task_job_id(options["task_id"]))
        if not awaited:
            return send()
        with self.batch() as batch:
            batch.jobs += [self.place(job_id, anew=True) for job_id in awaited]
            batch.after.append(send)
        return self._app.AsyncResult(options["task_id"])

    def place(self, job_id: str, name: str = RESULT, *, kind: str = "", anew: bool = False) -> NewJob:
        """A record that nobody runs: its result is stored by hand, or by a job that a task will add which is none."""
        failed, completed = self.retention(False)
        return NewJob(
            id=job_id,
            queue=self._app.conf.task_default_queue,
            name=name,
            vacant=True,
            keep_completed=completed,
            keep_failed=failed,
            kind=kind,
            anew=anew,
        )

    def carried(self, chain: Sequence[Any]) -> tuple[Carried, list[str]]:
        """What a task will publish when it ends, by the rest of its chain, the next one first; and of what a task that
        is left out will send from there on, the ids for which a join waits."""
        named = named_in(chain)
        if named is None:
            found = [one for step in reversed(chain) for one in results_in(step)]
        else:
            found = [(task_job_id(task_id), name) for name, task_id in reversed(named)]
        carried = self._tracked(found)
        behind = {job_id for job_id, _ in found[len(carried) :]}
        return carried, [one for step in chain for one in awaited_in(step) if one in behind] if behind else []

    def _tracked(self, results: Carried) -> Carried:
        """Those up to a task that is left out, which sends the rest itself."""
        left_out = {name for name in {name for _, name in results} if self._bridge.leaves_out(name)}
        return list(takewhile(lambda one: one[1] not in left_out, results)) if left_out else results

    def _is_ours(self, connection: Any) -> bool:
        """Whether a given connection leads to the application's broker; if not, a message over it is not one of our
        jobs."""
        if connection is None:
            return True
        last, ours = self._given
        if last() is not connection:  # the tasks of a group are given the same one
            ours = _broker_of(connection) == _broker_of(self._connection)
            self._given = weakref.ref(connection), ours
        return ours

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """The batch that is being made, or a new one: all tasks published within are added together, all or none; of a
        group without a body a page at a time."""
        batch = current()
        if batch is not None:
            yield batch
            return
        with within(Pages(self.add)) as pages:
            yield pages
            pages.end()
        pages.close()

    @contextmanager
    def chord(self) -> Iterator[None]:
        """The batch of a chord. Where no backend counts them, its tasks are jobs, and a join waits for them."""
        how = sending(self._bridge)
        if how is Sending.PLAIN and self._bridge.mirror.counting is None:
            how = Sending.TRACKED
        with sent(how), self.batch():
            yield

    def add(self, jobs: Sequence[NewJob]) -> list[Placed | None]:
        """Add jobs together, in one step; they replace finished jobs with the same ids, as in Celery. Returns where
        each was placed; None if an unfinished job has its id. Raises OperationalError."""
        left = list(jobs)
        placed: dict[str, Placed | None] = {}
        try:
            while left:
                try:
                    answer = add(self._bridge.engine, left)
                except JobIdTaken as taken:
                    left = [job for job in left if job.id != taken.job_id]
                    continue
                placed.update(zip((job.id for job in left), answer.placed, strict=True))
                break
        except StoreUnavailable as error:
            raise OperationalError(str(error)) from error
        return [placed.get(job.id) for job in jobs]

    # -- jobs -----------------------------------------------------------------------------------

    def new_job(
        self,
        published: Published,
        carried: Carried,
        countdown: Any = None,
        eta: Any = None,
        awaited: bool = False,
        *,
        fresh: bool = False,
    ) -> NewJob:
        """The job for one message; ``awaited``: by a join that is not there yet, so that it has to be kept; ``fresh``:
        the task's id was made with the message.
        Raises ConfigurationError for a queue that the broker does not accept: its job would wait forever."""
        headers, queue = published.headers, published.queue
        assert queue is not None
        delay_ms, due_ms = self._when(countdown, eta)
        if queue not in self._queues:
            self._bridge.driver.check_queue(queue)  # raises for a name that SQS refuses, or that is not predefined
            self._queues.add(queue)
        name = str(headers["task"])
        message = envelope(published, queue, queue)
        self._refuse_what_no_broker_takes(name, message)
        keep, keep_completed = self.retention(bool(headers.get("ignore_result")) and not awaited)
        return NewJob(
            id=task_job_id(headers["id"]),
            queue=queue,
            name=name,
            message=message,
            delay_ms=delay_ms,
            due_ms=due_ms,
            priority=self._priority(published),
            carries=tuple(job_id for job_id, _ in carried),
            keep_completed=keep_completed,
            keep_failed=keep,
            max_stalled=self.max_stalled(name),
            limit=self._limit(name),
            anew=True,
            fresh=fresh,
        )

    def _limit(self, name: str) -> Limit | None:
        """What the task's ``stratix_limiter`` says: of its starts, in all workers. Raises ConfigurationError."""
        task = self._bridge.task(name)
        if task is None:
            return None
        if name not in self._limits:
            given = getattr(task, "stratix_limiter", None)
            limit = None if given is None else limit_of(given, f"stratix_limiter of task {name!r}")
            self._limits[name] = limit and keyed(limit, f"task:{name}")
        return self._limits[name]

    def _refuse_what_no_broker_takes(self, name: str, message: str) -> None:
        """Its job would wait forever."""
        limit = self._bridge.driver.capabilities.max_message_bytes
        if limit is not None and (size := len(message.encode())) > limit:
            remedy = "the broker takes no longer one: store its arguments elsewhere and pass a reference"
            raise PayloadTooLarge(f"the message of task {name!r}", size, limit, remedy)

    def join(self, group_id: str, tree: Sequence[Any], body: Mapping[str, Any], wanted: Sequence[str]) -> None:
        """Add the job that waits for a chord's header and then sends the body."""
        with within(Batch()) as own:
            # It is none of the program's tasks: who looks for the children of the task that sends the chord does not
            # find it.
            given = {"task_id": join_id(group_id), "add_to_parent": False}
            self.send_task("stratix.join", (dict(body), list(tree)), **given, **self._route_of(body))
            if not own.jobs:  # several queues get the body: the join is one job all the same
                self.send_task("stratix.join", (dict(body), list(tree)), **given)
        (join,) = own.jobs
        carried = dict(self._tracked(list(results_in(body))))
        carries = tuple(carried)
        join = replace(join, kind=JOIN, dependencies=tuple(wanted), optional=True, carries=carries, max_stalled=None)
        with self.batch() as batch:
            batch.put_join(join, carried.items())

    def _route_of(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Where a chord's body goes: a worker consumes that queue, but perhaps not the default one."""
        options: dict[str, Any] = {}
        task: Any = body
        while True:
            given = task.get("options") or {}
            options = {**{one: given[one] for one in _ROUTING if given.get(one)}, **options}
            inner = first_of(task)
            if inner is None:
                break
            task = inner
        name = task.get("task")
        queue = getattr(self._app.tasks.get(name), "queue", None)
        if queue and "queue" not in options:
            options["queue"] = queue
        route: dict[str, Any] = self._app.amqp.router.route(options, name)
        return {one: route[one] for one in _ROUTING if route.get(one)}

    def _when(self, countdown: Any, eta: Any) -> tuple[int, int]:
        """Delay and instant in milliseconds, of any length: the store waits, not a worker."""
        if countdown:
            if countdown < LEAST_S:  # a text has no order: TypeError
                raise ValueError(f"countdown is out of range: {countdown!r}")
            return max(round(float(countdown) * 1000), 0), 0
        if not eta:
            return 0, 0
        return 0, instant(maybe_make_aware(maybe_iso8601(eta), self._app.timezone), "eta")

    def retention(self, ignore_result: bool) -> tuple[Retention, Retention]:
        """Of failed and of completed tasks."""
        failed, completed = self._kept
        return failed, KEEP_NONE if ignore_result else completed

    @cached_property
    def _connection(self) -> Any:
        """Tells which broker it is, and is never opened: the store sends the messages. To make one takes longer than
        the rest of a task."""
        return self._app.connection_for_write()

    @cached_property
    def _kept(self) -> tuple[Retention, Retention]:
        """Read with the first task, as Celery's backends read it: each look at a setting takes microseconds."""
        conf = self._app.conf
        if conf.task_protocol == 1:
            raise ConfigurationError("the bridge needs task_protocol 2, Celery's default: version 1 has no headers")
        keep = _kept_for(conf.result_expires, "result_expires")
        failures = conf.get("result_failure_expires")
        return keep if failures is None else _kept_for(failures, "result_failure_expires"), keep

    def max_stalled(self, name: str) -> int | None:
        """How often the task runs again after its process or its worker was lost; None: as often as its queue says, and
        where it is not known here, if its worker allows that (see ``BY_NAME``)."""
        task, conf = self._bridge.task(name), self._app.conf
        if task.retry_on_worker_lost if task is not None else conf.task_retry_on_worker_lost:
            allowed: int | None = Task.max_retries if task is None else task.max_retries
            return allowed
        return None if task is None or task.acks_late else 0

    def _priority(self, published: Published) -> int:
        """Which of the broker's lists it goes to, where priorities are lists. Elsewhere the message itself contains its
        priority."""
        given = published.options.get("priority")
        driver = self._bridge.driver
        if given is None or driver.name != "redis":
            return 0
        return min(max(int(given), 0), 9)

    # -- what is no job ---------------------------------------------------------------------------

    def _mark_untracked(self, published: Published, due: str | None, how: Sending) -> None:
        """A broadcast, or a custom exchange: sent as Celery sends it."""
        if how is not Sending.PLAIN:
            published.headers[TRACKED] = NOT_TRACKED
        if due:
            published.headers["eta"] = due

    def due(self, countdown: Any, eta: Any) -> str | None:
        """When a task should run, as Celery writes it: an ``eta`` without a timezone has none. None for at once."""
        self._when(countdown, eta)  # refuses what is no time
        if not (countdown or eta):
            return None
        due = self._app.now() + timedelta(seconds=float(countdown)) if countdown else maybe_iso8601(eta)
        return str(due.isoformat())

    def _send_untracked(self, published: Published, producer: Any, connection: Any) -> None:
        if connection is not None:
            producer = self._app.amqp.Producer(connection, auto_declare=False)
        with self._app.producer_or_acquire(producer) as real:
            real.publish(published.body, **published.options)

    def _publish_now(self, producer: Any, due: str | None, body: Any, **options: Any) -> Any:
        """An event about the task, by the producer that was given for it, if one was."""
        if due and isinstance(body, dict) and body.get("type") == "task-sent":
            body["eta"] = due
        with self._app.producer_or_acquire(producer) as real:
            return real.publish(body, **options)


def _broker_of(connection: Any) -> tuple[Any, ...]:
    """What identifies the broker of a connection of Kombu."""
    info = connection.info()
    return (info["transport"], *(info[one] for one in ("hostname", "port", "virtual_host")))


def _kept_for(expires: Any, name: str) -> Retention:
    if isinstance(expires, (int, float)):
        expires = timedelta(seconds=expires)
    return Retention(age_ms=milliseconds(expires, name) if expires else None)
