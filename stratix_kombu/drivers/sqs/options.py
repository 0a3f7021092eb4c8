"""The driver's options, checked, as Kombu's URL and transport options."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from stratix_kombu.config.options import snake, snake_keys, whole
from stratix_kombu.errors import ConfigurationError, nearest
from stratix_kombu.model import arguments
from stratix_kombu.model.names import check_queue_name
from stratix_kombu.model.text import kind_of

OPTIONS = frozenset(
    {
        "url",
        "aws",
        "role_to_assume",
        "endpoint_url",
        "connect_timeout",
        "command_timeout",
        "queue_name_prefix",
        "predefined_queues",
        "visibility_timeout",
        "creation_attributes",
        "tags",
        "wait_time_seconds",
        "redrive",
        "priorities",
    }
)
ROLE = "stratix-role"
"""Among the transport options: the role with what Kombu has no word for."""

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_MS = 5000.0
FIFO_ATTRIBUTES = frozenset({"ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"})
ATTRIBUTES = FIFO_ATTRIBUTES | {
    "DelaySeconds",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
}
_ARN = re.compile(r"arn:[^:\s]+:(?P<service>[^:\s]+):[^:\s]*:\d{12}:\S+\Z")


@dataclass(frozen=True, slots=True)
class Redrive:
    """SQS's own dead letters: what was received ``max_receive_count`` times is moved to ``queue``."""

    queue: str
    """The name of one of our queues, or an ARN."""
    max_receive_count: int = 10

    @property
    def is_arn(self) -> bool:
        return self.queue.startswith("arn:")

    @classmethod
    def parse(cls, value: Any) -> Redrive | None:
        """``"dead"``, or ``{"queue": "dead", "max_receive_count": 10}``."""
        if value is None:
            return None
        given = _section(
            value if isinstance(value, Mapping) else {"queue": value}, ("queue", "max_receive_count"), "redrive"
        )
        queue = given.get("queue")
        if not _is_arn(queue, "sqs"):
            check_queue_name(queue, what="sqs: 'queue' of 'redrive'")
        count = whole(_number(given.get("max_receive_count", 10)), "sqs: 'max_receive_count' of 'redrive'", 1, 1000)
        return cls(str(queue), count)


def transport_options(options: Mapping[str, Any], prefix: str) -> tuple[str, dict[str, Any]]:
    """The URL and the transport options. Raises ConfigurationError."""
    aws = _section(options.get("aws"), ("region", "credentials"), "aws")
    credentials = _section(
        aws.get("credentials"), ("access_key_id", "secret_access_key", "session_token"), "aws credentials"
    )
    if credentials and not {"access_key_id", "secret_access_key"} <= credentials.keys():
        raise ConfigurationError("sqs: aws credentials need both 'access_key_id' and 'secret_access_key'")
    connect_s = float(options.get("connect_timeout", CONNECT_TIMEOUT_S * 1000)) / 1000
    transport: dict[str, Any] = {
        "queue_name_prefix": prefix,
        "visibility_timeout": whole(
            _number(options.get("visibility_timeout", 60)), "sqs: 'visibility_timeout' (seconds)", 1, 43_200
        ),
        "client-config": {"connect_timeout": connect_s},
        "polling_interval": 0,
    }
    if aws.get("region"):
        transport["region"] = aws["region"]
    if attributes := creation_attributes(options.get("creation_attributes") or {}):
        transport["sqs-creation-attributes"] = attributes
    if tags := options.get("tags"):
        transport["queue_tags"] = {str(key): str(value) for key, value in _mapping(tags, "tags").items()}
    if predefined := options.get("predefined_queues"):
        transport["predefined_queues"] = _predefined(_mapping(predefined, "predefined_queues"), prefix)
    if role := _role(options.get("role_to_assume")):
        transport["sts_role_arn"] = role["arn"]
        transport[ROLE] = role
    if credentials.get("session_token"):
        transport["session_token"] = credentials["session_token"]
    return _url(options, credentials, transport), transport


def creation_attributes(given: Any) -> dict[str, str]:
    """Attributes under SQS's own names (``kms_master_key_id`` is accepted too), as the text it wants."""
    known = {snake(name[0].lower() + name[1:]): name for name in ATTRIBUTES}
    found = {}
    for key, value in _mapping(given, "creation_attributes").items():
        name = known.get(snake(key[0].lower() + key[1:])) if key else None
        if name is None:
            hint = nearest(key, ATTRIBUTES)
            raise ConfigurationError(f"sqs: unknown attribute {key!r} in 'creation_attributes'{hint}")
        if isinstance(value, (Mapping, bool)):
            value = json.dumps(value)
        found[name] = str(value)
    return found


def flag(value: Any, option: str) -> bool:
    """True or False; from the environment as text."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return arguments.flag(value, f"sqs: {option!r}")


def timeout_seconds(value: Any) -> float:
    """How long a call may take, with all its tries; given in milliseconds."""
    try:
        milliseconds = float(value)
    except (TypeError, ValueError):
        milliseconds = -1.0
    if not 0 < milliseconds < 1e9:
        raise ConfigurationError(f"sqs: 'command_timeout' must be milliseconds, not {value!r}")
    return milliseconds / 1000


def wait_seconds(value: Any) -> float:
    """How long one poll may wait."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 1 <= seconds <= 20:
        raise ConfigurationError(f"sqs: 'wait_time_seconds' must be from 1 to 20, not {value!r}")
    return seconds


def _url(options: Mapping[str, Any], credentials: Mapping[str, Any], transport: dict[str, Any]) -> str:
    if "url" in options:
        given = ["endpoint_url"] * ("endpoint_url" in options) + ["aws credentials"] * bool(credentials)
        if given:
            raise ConfigurationError(f"sqs: give 'url' or {given[0]!r}, not both")
        parts = urlsplit(str(options["url"]))
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ConfigurationError(
                "sqs: 'url' ends after its host: give options such as aws={'region': ...} beside it; in a key, "
                "characters such as / @ : # ? have to be quoted, as in %2F"
            )
        return str(options["url"])
    user = host = ""
    if credentials:
        user = f"{quote(credentials['access_key_id'], safe='')}:{quote(credentials['secret_access_key'], safe='')}@"
    if endpoint := options.get("endpoint_url"):
        parts = urlsplit(str(endpoint))
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
            raise ConfigurationError("sqs: 'endpoint_url' must be such as https://host:port")
        transport["is_secure"] = parts.scheme == "https"
        host = parts.netloc
    return f"sqs://{user}{host}//" if user or host else "sqs://"


def _predefined(given: Mapping[str, Any], prefix: str) -> dict[str, dict[str, Any]]:
    found = {}
    for name, one in given.items():
        known = ("url", "region", "access_key_id", "secret_access_key")
        queue = _section(one if isinstance(one, Mapping) else {"url": one}, known, f"predefined queue {name!r}")
        url = queue.get("url")
        if not isinstance(url, str) or "://" not in url:
            raise ConfigurationError(f"sqs: predefined queue {name!r} needs the queue's 'url', not {url!r}")
        if url.endswith(".fifo") != name.endswith(".fifo"):
            raise ConfigurationError(f"sqs: predefined queue {name!r}: name and URL must both end in .fifo, or neither")
        found[prefix + name] = queue
    return found


def _role(value: Any) -> dict[str, str]:
    """An ARN, or ``{"arn", "external_id"}``."""
    if value is None:
        return {}
    role = _section(value if isinstance(value, Mapping) else {"arn": value}, ("arn", "external_id"), "role_to_assume")
    arn = role.get("arn")
    if not _is_arn(arn, "iam"):
        raise ConfigurationError(f"sqs: 'role_to_assume' must be the ARN of a role, not {arn!r}")
    return {key: str(one) for key, one in role.items()}


def _is_arn(value: Any, service: str) -> bool:
    found = _ARN.match(value) if isinstance(value, str) else None
    return found is not None and found["service"] == service


def _section(value: Any, known: tuple[str, ...], where: str) -> dict[str, Any]:
    return snake_keys(_mapping(value or {}, where), known, f"sqs: {where}")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):  # not shown: it may hold a secret
        raise ConfigurationError(f"sqs: {where!r} must be a mapping, not {kind_of(value)}")
    return value


def _number(value: Any) -> Any:
    """A whole number given as text, as the environment does, or as a float."""
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value
