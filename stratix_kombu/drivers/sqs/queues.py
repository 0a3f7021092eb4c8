"""The queues in SQS: what they are called, where they are, and how they are created.

Nothing is listed; a queue is looked up by name and created when it is missing, unless the queues are predefined: then
neither happens. Earlier versions had a queue of its own for each level of priority, whose name ends in it: one that is
still there is looked up, and never created.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ConnectionError as NotConnected, HTTPClientError

from stratix_kombu.drivers.sqs.clients import Clients
from stratix_kombu.drivers.sqs.options import FIFO_ATTRIBUTES, Redrive
from stratix_kombu.errors import ConfigurationError, nearest

FIFO = ".fifo"
MAX_NAME = 80
LEVELS = (3, 6, 9)
"""The ends of the names of queues that earlier versions had for jobs of other priorities."""
_BUSY = re.compile(r"Throttl|TooManyRequests|RequestTimeout|PriorRequestNotComplete|LimitExceeded|SlowDown")
RECHECK_S = 60.0
"""How long it is believed that a queue has a redrive policy, or none."""


@dataclass(frozen=True, slots=True)
class Place:
    """One SQS queue."""

    client: Any
    url: str
    name: str
    poller: Any
    """The client for long polls."""

    @property
    def is_fifo(self) -> bool:
        return self.name.endswith(FIFO)


class Queues:
    """The SQS queues of one driver, by queue and level."""

    def __init__(
        self, clients: Clients, options: Mapping[str, Any], prefix: str, redrive: Redrive | None, priorities: bool
    ) -> None:
        self._clients = clients
        self._options = options
        self._prefix = prefix
        self._redrive = redrive
        self._priorities = priorities
        self._urls: dict[str, str] = {}
        self._policies: dict[str, tuple[bool, float]] = {}
        """By URL: whether the queue has a redrive policy of its own, and until when that is believed."""
        self._names: dict[str, str] = {}

    @property
    def predefined(self) -> dict[str, Mapping[str, Any]]:
        """By SQS name; empty if queues are looked up and created."""
        found = self._options.get("predefined_queues") or {}
        return {sqs_name(name): queue for name, queue in found.items()}

    def check(self, queue: str) -> None:
        """Raises ConfigurationError for a name that SQS does not accept, or that another queue uses there."""
        level = re.search(rf"-p[{''.join(map(str, LEVELS))}]\Z", queue.removesuffix(FIFO))
        if self._priorities and level:
            raise ConfigurationError(
                f"sqs: {queue!r} is the former name of the queue for jobs of priority {level[0][2:]} of "
                "another queue: choose another ending, or set priorities=False"
            )
        self.check_place(queue)
        other = self._names.setdefault(self.name(queue), queue)
        if other != queue:
            raise ConfigurationError(f"sqs: {queue!r} and {other!r} are both {self.name(queue)!r} in SQS: rename one")

    def check_place(self, queue: str) -> None:
        """ConfigurationError for a name that is too long for SQS, or that of no predefined queue if some are."""
        name = self.name(queue)
        if len(name) > MAX_NAME:
            raise ConfigurationError(f"sqs: {name!r} is longer than SQS's {MAX_NAME} characters: shorten {queue!r}")
        self._look_for(name)

    def name(self, queue: str, level: int = 0) -> str:
        """What it is called in SQS."""
        base = sqs_name(self._prefix + queue)
        if not level:
            return base
        fifo = base.endswith(FIFO)
        return f"{base.removesuffix(FIFO)}-p{level}{FIFO if fifo else ''}"

    def levels(self, queue: str) -> list[int]:
        """The queue itself (0), and those besides it that an earlier version may have left."""
        if not self._priorities:
            return [0]
        predefined = self.predefined
        return [0, *(level for level in LEVELS if not predefined or self.name(queue, level) in predefined)]

    def open(self, queue: str, level: int = 0) -> Place:
        """The queue, created if it is missing."""
        name = self.name(queue, level)
        place = self._look_up(name)
        if place is None:
            client = self._clients.sqs()
            place = Place(client, self._create(client, queue, name), name, self._clients.sqs(polls=True))
            self._urls[name] = place.url
        return place

    def look_up(self, queue: str, level: int = 0) -> Place | None:
        """The queue if it is there; one of an earlier version also has to be one that we may use."""
        try:
            return self._look_up(self.name(queue, level))
        except ClientError as problem:
            if level and is_forbidden(problem):
                return None
            raise

    def forget(self, place: Place) -> None:
        """It is gone."""
        self._urls.pop(place.name, None)

    def has_redrive_policy(self, place: Place) -> bool:
        """Whether SQS itself moves messages away that are received repeatedly. Without the permission to ask, 'redrive'
        says so."""
        now = time.monotonic()
        has, until = self._policies.get(place.url, (False, 0.0))
        if now >= until:
            try:
                has = "RedrivePolicy" in _attributes(place, "RedrivePolicy")
            except ClientError as problem:
                if not is_forbidden(problem):
                    raise
                has = self._redrive is not None
            self._policies[place.url] = (has, now + RECHECK_S)
        return has

    def _look_for(self, name: str) -> Mapping[str, Any] | None:
        """The predefined queue of that name, None if queues are not predefined. ConfigurationError if it is missing."""
        predefined = self.predefined
        if predefined and name not in predefined:
            raise ConfigurationError(f"sqs: queue {name!r} is not in 'predefined_queues'{nearest(name, predefined)}")
        return predefined.get(name)

    def _look_up(self, name: str) -> Place | None:
        predefined = self._look_for(name)
        if predefined is not None:
            client, poller = (self._clients.sqs(predefined, polls) for polls in (False, True))
            return Place(client, str(predefined["url"]), name, poller)
        client = self._clients.sqs()
        if name not in self._urls:
            try:
                self._urls[name] = str(client.get_queue_url(QueueName=name)["QueueUrl"])
            except ClientError as problem:
                if not is_missing(problem):
                    raise
                return None
        return Place(client, self._urls[name], name, self._clients.sqs(polls=True))

    def _create(self, client: Any, queue: str, name: str) -> str:
        fifo = name.endswith(FIFO)
        attributes = {"VisibilityTimeout": str(self._options.get("visibility_timeout", 60))}
        if fifo:
            attributes["FifoQueue"] = "true"
        given = self._options.get("sqs-creation-attributes") or {}
        attributes |= {key: value for key, value in given.items() if fifo or key not in FIFO_ATTRIBUTES}
        if self._redrive is not None:
            target = self._redrive.queue
            if not self._redrive.is_arn:
                target = target if not fifo or target.endswith(FIFO) else target + FIFO
            if target != queue:
                arn = target if self._redrive.is_arn else _attributes(self.open(target), "QueueArn")["QueueArn"]
                policy = {"deadLetterTargetArn": arn, "maxReceiveCount": self._redrive.max_receive_count}
                attributes["RedrivePolicy"] = json.dumps(policy)
        tags = self._options.get("queue_tags")
        created = client.create_queue(QueueName=name, Attributes=attributes, **({"tags": tags} if tags else {}))
        return str(created["QueueUrl"])


def sqs_name(name: str) -> str:
    """A name as Kombu writes it for SQS: letters, digits, ``-`` and ``_``, and ``.fifo`` at its end."""
    base = re.sub(r"[^A-Za-z0-9_-]", "_", name.removesuffix(FIFO).replace(".", "-"))
    return base + (FIFO if name.endswith(FIFO) else "")


def is_missing(problem: ClientError) -> bool:
    """Whether it says that there is no such queue."""
    return code_of(problem) in ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


def is_forbidden(problem: ClientError) -> bool:
    """Whether it says that we are known, but may not do this."""
    denied = code_of(problem) in ("AccessDenied", "AccessDeniedException")
    return denied and problem.operation_name != "AssumeRole"


def is_passing(problem: BaseException) -> bool:
    """Whether another try may succeed: the service was not reached, fails, or has too much to do."""
    if isinstance(problem, ClientError):
        status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(status >= 500 or _BUSY.search(code_of(problem)))
    return isinstance(problem, (NotConnected, HTTPClientError))


def code_of(problem: ClientError) -> str:
    return str(problem.response.get("Error", {}).get("Code", ""))


def _attributes(place: Place, *names: str) -> dict[str, str]:
    found: dict[str, str] = place.client.get_queue_attributes(QueueUrl=place.url, AttributeNames=list(names)).get(
        "Attributes", {}
    )
    return found


def waiting_messages(place: Place) -> int:
    """Messages that can be received, about."""
    name = "ApproximateNumberOfMessages"
    return int(_attributes(place, name)[name])
