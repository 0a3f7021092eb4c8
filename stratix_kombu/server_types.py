"""Options of servers, as a type checker sees them; programs have them from ``stratix_kombu.types``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias, TypedDict

if sys.version_info >= (3, 11):
    from typing import Required
else:
    from typing_extensions import Required

Duration: TypeAlias = float | timedelta
"""Milliseconds, or a timedelta."""


class TlsOpts(TypedDict, total=False):
    """How a connection is encrypted; files are paths to PEM."""

    ca: str
    cert: str
    key: str
    verify: bool
    server_name: str


class RedisNode(TypedDict, total=False):
    """A sentinel, or a node of a cluster."""

    host: Required[str]
    port: int


class RedisOpts(TypedDict, total=False):
    """Options of the Redis store, and of the driver."""

    url: str
    host: str
    port: int
    db: int
    username: str
    password: str
    ssl: bool | TlsOpts
    sentinels: Sequence[RedisNode | str | tuple[str, int]]
    name: str
    sentinel_password: str
    cluster: Sequence[RedisNode | str | tuple[str, int]]
    options: Mapping[str, Any]
    connect_timeout: Duration
    command_timeout: Duration
    max_retries_per_request: int
    auto_resend_unfulfilled_commands: bool
    connect_retry_strategy: Callable[[int], float | None]
    enable_ready_check: bool
    connection_namespace: str
    enable_offline_queue: bool


class RedisDriverOpts(RedisOpts, total=False):
    """Options of the driver ``redis``."""

    queue_name_prefix: str


class RabbitMQOpts(TypedDict, total=False):
    """Options of the driver ``rabbitmq``; timeouts in milliseconds, ``heartbeat`` in seconds."""

    url: str
    host: str
    port: int
    username: str
    password: str
    vhost: str
    ssl: bool | TlsOpts
    heartbeat: float
    quorum: bool
    max_priority: int
    dead_letter_exchange: str
    dead_letter_routing_key: str
    connect_timeout: float
    command_timeout: float
    queue_name_prefix: str


class AwsCredentials(TypedDict, total=False):
    """Credentials that are not found by boto3's default chain."""

    access_key_id: Required[str]
    secret_access_key: Required[str]
    session_token: str


class AwsOpts(TypedDict, total=False):
    """The account."""

    region: str
    credentials: AwsCredentials


class SqsOpts(TypedDict, total=False):
    """Options of the driver ``sqs``; timeouts in milliseconds, visibility and polls in seconds."""

    url: str
    aws: AwsOpts
    role_to_assume: str | Mapping[str, Any]
    endpoint_url: str
    connect_timeout: float
    command_timeout: float
    queue_name_prefix: str
    predefined_queues: Mapping[str, Any]
    visibility_timeout: int
    creation_attributes: Mapping[str, Any]
    tags: Mapping[str, str]
    wait_time_seconds: int
    redrive: str | Mapping[str, Any]
    priorities: bool


class KombuOpts(TypedDict, total=False):
    """Options of a driver that is a URL of Kombu."""

    url: str
    transport_options: Mapping[str, Any]
    connect_timeout: float
    queue_name_prefix: str
