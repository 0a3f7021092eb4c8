"""The driver: publishing, depth, health. Nothing depends on SQS's delays or on how long a job runs: a message is
deleted right after its job was claimed."""

from __future__ import annotations

import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from kombu import Connection

from stratix_kombu.drivers.contract import Delivery, DriverCapabilities, Receiver
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.drivers.sqs.clients import Clients
from stratix_kombu.drivers.sqs.messages import MAX_BYTES, PER_CALL, Entry, delivery_of, entry_of, in_batches
from stratix_kombu.drivers.sqs.options import (
    COMMAND_TIMEOUT_MS,
    OPTIONS,
    Redrive,
    flag,
    timeout_seconds,
    transport_options,
    wait_seconds,
)
from stratix_kombu.drivers.sqs.queues import (
    Place,
    Queues,
    code_of,
    is_forbidden,
    is_missing,
    is_passing,
    waiting_messages,
)
from stratix_kombu.drivers.sqs.receiver import SQSReceiver
from stratix_kombu.errors import ConfigurationError, DriverUnavailable
from stratix_kombu.model.record import Ready

_TOKEN = re.compile(r"(x-amz-security-token\W{1,3})[^\s&'\"]+", re.IGNORECASE)
"""A refused signature is explained by the service with the whole request."""

TRIES = 3
"""How often a call with a temporary failure is tried."""
PAUSE_S = 0.5
"""The longest pause before the second try; the next one may be twice as long."""
DENIED_S = 600.0
"""How long nothing is counted after that was forbidden."""

Result = TypeVar("Result")


class SQSDriver(KombuDriver):
    """Options:

    * ``aws``: ``{"region", "credentials": {"access_key_id", "secret_access_key", "session_token"}}``; without
      credentials the default chain of boto3 (environment, profile, role of the machine)
    * ``role_to_assume``: ARN of a role, or ``{"arn", "external_id"}``; its credentials are renewed before they expire
    * ``endpoint_url``, ``queue_name_prefix`` (default ``<namespace>-``)
    * ``connect_timeout``, ``command_timeout`` (milliseconds, 5000): how long a call may take, with its three tries
    * ``predefined_queues``: queue name -> URL, or ``{"url", "region", ...}``; then no queue is looked up or created
    * for queues it creates: ``visibility_timeout`` (seconds, 60), ``creation_attributes`` (such as
      ``kms_master_key_id``), ``tags``, ``redrive`` (``{"queue", "max_receive_count"}``: SQS's own dead letters)
    * ``priorities`` (True): whether there may be queues ending in ``-p3``, ``-p6`` and ``-p9``, which earlier versions
      had for jobs of priority 3 to 9. Nothing is sent to them any more; what is left in them is taken
    * ``wait_time_seconds`` (1..20, default 20): how long an idle worker lets one question wait; each costs a request
    """

    name = "sqs"
    known_options = OPTIONS

    def __init__(self, options: Mapping[str, Any], *, namespace: str) -> None:
        prefix = options.get("queue_name_prefix", f"{namespace}-")
        super().__init__({**options, "queue_name_prefix": prefix}, namespace=namespace)
        priorities = flag(self.options.get("priorities", True), "priorities")
        self.capabilities = DriverCapabilities(
            durable=True,
            ordered=False,
            priorities=False,
            counts=False,
            shared=True,
            groups=True,
            max_message_bytes=MAX_BYTES // 4 * 3 - 200,  # as base64, with a tag of its own
        )
        self.wait_s = wait_seconds(self.options.get("wait_time_seconds", 20))
        self.timeout_s = timeout_seconds(self.options.get("command_timeout", COMMAND_TIMEOUT_MS))
        self.clients = Clients(self.url, self.transport_options, self.timeout_s, TRIES, "url" in self.options)
        self.queues = Queues(
            self.clients, self.transport_options, self.prefix, Redrive.parse(self.options.get("redrive")), priorities
        )
        self._count_at = 0.0

    def connect_options(self) -> tuple[str, dict[str, Any]]:
        return transport_options(self.options, self.prefix)

    def masked_address(self) -> str:
        region = self.transport_options.get("region", "default region")
        return f"sqs://{urlsplit(str(self.options.get('endpoint_url') or '')).netloc.rpartition('@')[2] or region}"

    def secrets(self) -> Sequence[str | None]:
        connection = Connection(self.url)
        queues = (self.transport_options.get("predefined_queues") or {}).values()
        own = [queue.get(key) for queue in queues for key in ("access_key_id", "secret_access_key")]
        return (connection.password, connection.userid, self.transport_options.get("session_token"), *own)

    def errors(self) -> tuple[type[BaseException], ...]:
        # The last one: a queue that is not predefined, which is no reason to lose the jobs of others.
        return (BotoCoreError, ClientError, OSError, ConfigurationError)

    def unavailable(self, problem: BaseException) -> DriverUnavailable:
        error = super().unavailable(problem)
        return DriverUnavailable(self.address, _TOKEN.sub(r"\1***", error.problem))

    def broker_queue(self, queue: str) -> str:
        """Kombu puts the prefix before it by itself."""
        return queue

    # -- the contract ---------------------------------------------------------------------------

    def init(self) -> None:
        """Any answer is enough, even that something is forbidden or missing: the service has accepted the
        credentials."""

        def ask() -> None:
            predefined = self.queues.predefined
            try:
                if predefined:
                    one = next(iter(predefined.values()))
                    self.clients.sqs(one).get_queue_attributes(QueueUrl=one["url"], AttributeNames=["QueueArn"])
                else:
                    self.clients.sqs().get_queue_url(QueueName=self.queues.name("health"))
            except ClientError as problem:
                if not (is_forbidden(problem) or is_missing(problem)):
                    raise

        self.call(ask)

    def create_queue(self, name: str, options: Mapping[str, Any]) -> Any:
        super().create_queue(name, options)
        self.queues.check(name)

    def check_queue(self, name: str) -> None:
        self.queues.check_place(name)

    def close(self) -> None:
        super().close()
        self.clients.close()

    def publish(self, jobs: Sequence[Ready]) -> None:
        by_queue: defaultdict[str, list[Ready]] = defaultdict(list)
        for job in jobs:
            by_queue[job.queue].append(job)
        too_large = refused = 0
        for queue, some in by_queue.items():
            for start in range(0, len(some), PER_CALL):  # a call that is tried again sends its own messages again only
                counts = self.at(queue, 0, partial(self._send, some[start : start + PER_CALL]))
                too_large, refused = too_large + counts[0], refused + counts[1]
        if too_large:
            raise self.unavailable(OSError(f"{too_large} messages are larger than SQS's {MAX_BYTES} bytes"))
        if refused:
            raise self.unavailable(OSError(f"SQS refused {refused} of {len(jobs)} messages"))

    def _send(self, jobs: Sequence[Ready], place: Place) -> tuple[int, int]:
        """Send what can be sent; how many of the others are too large, and how many were refused."""
        entries = [entry_of(job, self.broker_queue(job.queue), place.is_fifo) for job in jobs]
        fitting = [entry for entry in entries if len(entry["MessageBody"]) <= MAX_BYTES]
        send = partial(place.client.send_message_batch, QueueUrl=place.url)
        failed = in_batches(send, in_batches(send, fitting))  # failed entries are sent again
        return len(entries) - len(fitting), len(failed)

    def depth(self, queue: str) -> int | None:
        def count() -> int | None:
            if time.monotonic() < self._count_at:
                return None
            place = self.queues.look_up(queue)
            if place is None:
                return 0
            try:
                return waiting_messages(place)
            except ClientError as problem:
                if is_forbidden(problem):
                    self._count_at = time.monotonic() + DENIED_S
                    return None
                if is_missing(problem):
                    return 0
                raise

        return self.call(count)

    def purge(self, queue: str) -> int:
        waiting = self.depth(queue) or 0

        def drop() -> None:
            for place in filter(None, (self.queues.look_up(queue, level) for level in self.queues.levels(queue))):
                try:
                    place.client.purge_queue(QueueUrl=place.url)
                except ClientError as problem:
                    # Once a minute is all SQS does. What is left is dropped as it comes.
                    if "PurgeQueueInProgress" not in code_of(problem):
                        raise

        self.call(drop)
        return waiting

    def receiver(self, queue: str, slots: int) -> Receiver:
        return SQSReceiver(self, queue)

    # -- calls ----------------------------------------------------------------------------------

    def left_levels(self, queue: str) -> list[int]:
        """The queues of an earlier version, for jobs of other priorities, that are still there."""
        levels = self.queues.levels(queue)[1:]
        return self.call(lambda: [level for level in levels if self.queues.look_up(queue, level) is not None])

    def ask(self, queue: str, level: int, limit: int, wait: int) -> list[Delivery]:
        """One ReceiveMessage: the messages that are there, or arrive within ``wait`` seconds."""

        def receive(place: Place) -> list[Delivery]:
            answer = place.poller.receive_message(
                QueueUrl=place.url, MaxNumberOfMessages=min(limit, PER_CALL), WaitTimeSeconds=wait
            )
            return [delivery_of(message, level, self.brings_tasks) for message in answer.get("Messages") or []]

        return self.at(queue, level, receive)

    def delete(self, queue: str, level: int, handles: Sequence[str]) -> None:
        """Delete messages. One that is not deleted comes again and is refused by the store."""
        entries: list[Entry] = [{"ReceiptHandle": handle} for handle in handles]
        self.at(
            queue,
            level,
            lambda place: in_batches(partial(place.client.delete_message_batch, QueueUrl=place.url), entries),
        )

    def show_again(self, queue: str, level: int, handles: Sequence[str]) -> None:
        """Let others receive messages at once."""
        entries: list[Entry] = [{"ReceiptHandle": handle, "VisibilityTimeout": 0} for handle in handles]
        self.at(
            queue,
            level,
            lambda place: in_batches(
                partial(place.client.change_message_visibility_batch, QueueUrl=place.url), entries
            ),
        )

    def at(self, queue: str, level: int, work: Callable[[Place], Result]) -> Result:
        """Do ``work`` at a queue, which is created if it is missing, or if it has been deleted."""

        def do() -> Result:
            place = self.queues.open(queue, level)
            try:
                return work(place)
            except ClientError as problem:
                if not is_missing(problem):
                    raise
                if place.name in self.queues.predefined:
                    what = f"sqs: there is no queue {place.url}, which 'predefined_queues' names for {queue!r}"
                    raise ConfigurationError(what) from problem
                self.queues.forget(place)
            return work(self.queues.open(queue, level))

        return self.call(do)

    def call(self, work: Callable[[], Result]) -> Result:
        """Make calls, repeating temporary failures, within ``command_timeout``. Raises DriverUnavailable."""
        deadline, tried = time.monotonic() + self.timeout_s, 0
        while True:
            try:
                return work()
            except DriverUnavailable:
                raise
            except self.errors() as problem:
                tried += 1
                pause_s = PAUSE_S * tried * random.uniform(0.5, 1)  # so that not all come back together
                if tried == TRIES or not is_passing(problem) or time.monotonic() + pause_s > deadline:
                    raise self.unavailable(problem) from problem
            time.sleep(pause_s)
