"""Amazon SQS, over Kombu's transport for names, credentials and queue URLs, and over boto3 for what it does not batch.

Messages are sent, deleted and made visible again ten at a time. Nothing depends on SQS's delays or on how long a job
runs: a message is deleted right after its job was claimed.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from kombu import Connection

from stratix_kombu.drivers.contract import Delivery, DriverCapabilities, Receiver
from stratix_kombu.drivers.kombu import CONNECT_TIMEOUT_S, KombuDriver, Link
from stratix_kombu.errors import ConfigurationError, DriverUnavailable, MissingExtra, nearest
from stratix_kombu.model.message import BODY, CONTENT_ENCODING, CONTENT_TYPE, job_id_of, message_headers
from stratix_kombu.model.record import Ready

try:
    import boto3  # noqa: F401 - Kombu's module can be imported without it
    from botocore.exceptions import BotoCoreError, ClientError
    from kombu.transport import SQS
except ImportError as problem:  # pragma: no cover - tested in a process of its own
    raise MissingExtra("sqs", "boto3", "the SQS driver") from problem

PER_CALL = 10
BYTES_PER_CALL = 1024 * 1024
READ_MARGIN_S = 10.0


class Channel(SQS.Channel):
    """Kombu's channel, which passes the token of temporary credentials on."""

    def new_sqs_client(
        self, region: Any, access_key_id: Any, secret_access_key: Any, session_token: str | None = None
    ) -> Any:
        token = session_token or self.transport_options.get("session_token")
        return super().new_sqs_client(region, access_key_id, secret_access_key, token)


class Transport(SQS.Transport):
    """The transport behind the SQS driver."""

    Channel = Channel


class SQSDriver(KombuDriver):
    """Options:

    * ``aws``: ``{"region", "credentials": {"access_key_id", "secret_access_key", "session_token"}}``; without
      credentials the default chain of boto3 (environment, profile, role of the machine)
    * ``role_to_assume``: ARN of a role, with ``predefined_queues``
    * ``endpoint_url``, ``connect_timeout`` (milliseconds), ``queue_name_prefix`` (default ``<namespace>-``)
    * ``predefined_queues``: queue name -> ``{"url": ...}`` or URL; then no queue is listed or created
    * ``visibility_timeout`` (seconds, 60) and ``creation_attributes``, ``tags`` for queues it creates
    * ``wait_time_seconds`` (1..20): how long an idle worker lets one question wait, and thus how long its stop may
      take; a longer time costs fewer requests
    """

    name = "sqs"
    known_options = frozenset(
        {
            "url", "aws", "role_to_assume", "endpoint_url", "connect_timeout", "queue_name_prefix",
            "predefined_queues", "visibility_timeout", "creation_attributes", "tags", "wait_time_seconds",
        }
    )  # fmt: skip
    capabilities = DriverCapabilities(durable=True, ordered=False, priorities=False, counts=False, shared=True)

    def __init__(self, options: Mapping[str, Any], *, namespace: str) -> None:
        prefix = options.get("queue_name_prefix", f"{namespace}-")
        self._urls: dict[str, str] = {}
        super().__init__({**options, "queue_name_prefix": prefix}, namespace=namespace)
        self.wait_s = float(self.options.get("wait_time_seconds", 1))
        if not 0 <= self.wait_s <= 20:
            raise ConfigurationError(f"sqs: 'wait_time_seconds' must be from 0 to 20, not {self.wait_s!r}")

    def connect_options(self) -> tuple[str, dict[str, Any]]:
        aws = dict(self.options.get("aws") or {})
        credentials = {_snake(key): value for key, value in dict(aws.pop("credentials", None) or {}).items()}
        _check(aws, {"region"}, "aws")
        _check(credentials, {"access_key_id", "secret_access_key", "session_token"}, "aws credentials")
        transport: dict[str, Any] = {
            "queue_name_prefix": self.prefix,
            "visibility_timeout": int(self.options.get("visibility_timeout", 60)),
            "client-config": {"connect_timeout": self._connect_s(), "read_timeout": 20 + READ_MARGIN_S},
            "polling_interval": 0,
        }
        if aws.get("region"):
            transport["region"] = aws["region"]
        for option, key in (("creation_attributes", "sqs-creation-attributes"), ("tags", "queue_tags")):
            if option in self.options:
                transport[key] = dict(self.options[option])
        if predefined := self.options.get("predefined_queues"):
            transport["predefined_queues"] = {
                self.prefix + name: dict(one) if isinstance(one, Mapping) else {"url": one}
                for name, one in predefined.items()
            }
        if role := self.options.get("role_to_assume"):
            transport["sts_role_arn"] = role
        if credentials.get("session_token"):
            transport["session_token"] = credentials["session_token"]
        if "url" in self.options:
            return str(self.options["url"]), transport
        user = ""
        if credentials:
            user = f"{quote(credentials['access_key_id'], safe='')}:{quote(credentials['secret_access_key'], safe='')}@"
        host = ""
        if endpoint := self.options.get("endpoint_url"):
            parts = urlsplit(str(endpoint))
            transport["is_secure"] = parts.scheme == "https"
            host = parts.netloc
        return f"sqs://{user}{host}//" if user or host else "sqs://", transport

    def _connect_s(self) -> float:
        return float(self.options.get("connect_timeout", CONNECT_TIMEOUT_S * 1000)) / 1000

    def connection(self) -> Connection:
        return Connection(self.url, transport=Transport, transport_options=dict(self.transport_options))

    def masked_address(self) -> str:
        region = self.transport_options.get("region", "default region")
        return f"sqs://{urlsplit(str(self.options.get('endpoint_url') or '')).netloc or region}"

    def secrets(self) -> list[str]:
        connection = Connection(self.url)
        given = (connection.password, connection.userid, self.transport_options.get("session_token"))
        return [form for one in given if one for form in (str(one), quote(str(one), safe=""))]

    def errors(self) -> tuple[type[BaseException], ...]:
        return (*super().errors(), BotoCoreError, ClientError)

    def broker_queue(self, queue: str) -> str:
        """Kombu puts the prefix before it by itself."""
        return queue

    # -- calls ----------------------------------------------------------------------------------

    def init(self) -> None:
        self.attempt(lambda link: None)  # opening a link asks the service for the queues, unless they are predefined

    def declare(self, queue: str) -> None:
        """Find or create the queue, once a process; predefined ones are there."""
        if queue not in self._declared and "predefined_queues" not in self.transport_options:
            self.attempt(lambda link: link.channel.queue_declare(queue=self.broker_queue(queue)))
            self._declared.add(queue)

    def queue_url(self, link: Link, queue: str) -> tuple[Any, str]:
        """A client for the queue with credentials that are good now, and the queue's URL."""
        channel = link.channel
        name = channel.canonical_queue_name(self.broker_queue(queue))
        client = channel.sqs(queue=name)
        predefined = self.transport_options.get("predefined_queues")
        if predefined:
            if name not in predefined:
                hint = nearest(name, predefined)
                raise ConfigurationError(f"sqs: queue {name!r} is not in 'predefined_queues'{hint}")
            return client, str(predefined[name]["url"])
        if name not in self._urls:
            self._urls[name] = str(client.get_queue_url(QueueName=name)["QueueUrl"])
        return client, self._urls[name]

    def send(self, link: Link, jobs: Sequence[Ready]) -> None:
        for queue in dict.fromkeys(job.queue for job in jobs):
            entries = [self._entry(job) for job in jobs if job.queue == queue]
            client, url = self.queue_url(link, queue)
            send = partial(client.send_message_batch, QueueUrl=url)
            failed = _in_batches(send, _in_batches(send, entries))  # what failed is sent once more
            if failed:
                raise OSError(f"SQS refused {len(failed)} of {len(entries)} messages")

    def _entry(self, job: Ready) -> dict[str, Any]:
        tag = str(uuid.uuid4())
        message = json.loads(job.message) if job.message else self._envelope(job)
        message["properties"]["delivery_tag"] = tag
        entry = {"MessageBody": base64.b64encode(json.dumps(message).encode()).decode()}
        if job.queue.endswith(".fifo"):
            own = message["properties"]
            entry["MessageGroupId"] = own.get("MessageGroupId") or job.id
            entry["MessageDeduplicationId"] = own.get("MessageDeduplicationId") or tag
        return entry

    def _envelope(self, job: Ready) -> dict[str, Any]:
        return {
            "body": BODY,
            "content-encoding": CONTENT_ENCODING,
            "content-type": CONTENT_TYPE,
            "headers": message_headers(job.id, job.name),
            "properties": {
                "correlation_id": job.id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": self.broker_queue(job.queue)},
                "priority": 0,
                "body_encoding": None,
            },
        }

    def depth(self, queue: str) -> int | None:
        self.declare(queue)

        def ask(link: Link) -> int:
            client, url = self.queue_url(link, queue)
            name = "ApproximateNumberOfMessages"
            return int(client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])

        try:
            return self.attempt(ask)
        except DriverUnavailable as error:
            if isinstance(error.__cause__, ClientError) and "AccessDenied" in str(error.__cause__):
                return None
            raise

    def purge(self, queue: str) -> int:
        waiting = self.depth(queue) or 0

        def drop(link: Link) -> None:
            client, url = self.queue_url(link, queue)
            client.purge_queue(QueueUrl=url)

        self.attempt(drop)
        return waiting

    def receiver(self, queue: str, slots: int) -> Receiver:
        return SQSReceiver(self, queue)


class SQSReceiver(Receiver):
    """Long polls; deletes and gives back in batches."""

    def __init__(self, driver: SQSDriver, queue: str) -> None:
        self.patience = max(driver.wait_s, 0.25)
        self._driver = driver
        self._queue = queue
        self._link: Link | None = None
        self._undecided: dict[int, Delivery] = {}

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        def ask(client: Any, url: str) -> list[dict[str, Any]]:
            wait = min(max(round(timeout), 0), 20)
            most = min(limit, PER_CALL)
            answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=most, WaitTimeSeconds=wait)
            return answer.get("Messages") or []

        received = [_delivery(message) for message in self._call(ask)]
        self._undecided.update((id(one), one) for one in received)
        return received

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        mine = self._decided(deliveries)
        entries = [{"ReceiptHandle": one.handle} for one in mine]
        # One that is not deleted comes again and is refused by the store: nothing to be done about it here.
        self._call(
            lambda client, url: _in_batches(partial(client.delete_message_batch, QueueUrl=url), entries)
        )

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        mine = self._decided(deliveries)
        entries = [{"ReceiptHandle": one.handle, "VisibilityTimeout": 0} for one in mine]
        self._call(
            lambda client, url: _in_batches(partial(client.change_message_visibility_batch, QueueUrl=url), entries)
        )

    def close(self) -> None:
        with suppress(DriverUnavailable):
            self.give_back(list(self._undecided.values()))
        if self._link is not None:
            self._link.close()
            self._link = None

    def _decided(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return [one for one in deliveries if self._undecided.pop(id(one), None) is not None]

    def _call(self, work: Callable[[Any, str], Any]) -> Any:
        try:
            self._driver.declare(self._queue)
            self._link = self._link or Link(self._driver.connection())
            return work(*self._driver.queue_url(self._link, self._queue))
        except self._driver.errors() as problem:
            if isinstance(problem, DriverUnavailable):
                raise
            link, self._link = self._link, None
            if link is not None:
                link.close()
            raise self._driver.unavailable(problem) from problem


def _delivery(message: Mapping[str, Any]) -> Delivery:
    handle, body = message["ReceiptHandle"], message["Body"]
    try:
        text = base64.b64decode(body, validate=True).decode()
    except ValueError:
        text = body
    try:
        headers = json.loads(text)["headers"]
    except (ValueError, KeyError, TypeError):
        return Delivery(None, handle, f"it is no Kombu message: {text[:60]!r}")
    job_id = job_id_of(headers)
    problem = "" if job_id else f"its task is {str(headers.get('task') if isinstance(headers, dict) else None)[:100]!r}"
    return Delivery(job_id, handle, problem)


def _in_batches(call: Callable[..., Any], entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Call with ten entries at a time; those that the service says have failed."""
    failed: list[dict[str, Any]] = []
    for batch in _batches(entries):
        numbered = [{**entry, "Id": str(number)} for number, entry in enumerate(batch)]
        answer = call(Entries=numbered)
        failed += [batch[int(one["Id"])] for one in answer.get("Failed") or []]
    return failed


def _batches(entries: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for entry in entries:
        length = len(entry.get("MessageBody", ""))
        if batch and (len(batch) == PER_CALL or size + length > BYTES_PER_CALL):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += length
    if batch:
        yield batch


def _snake(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)


def _check(options: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in options:
        if key not in known:
            raise ConfigurationError(f"sqs: unknown {where} option {key!r}{nearest(key, known)}")
