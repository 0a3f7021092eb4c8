"""Options of servers, as a type checker sees them; programs import them from ``stratix_kombu.types``.

The texts below the options are what the guide's settings reference says of them (``python -m tests.reference``).
"""

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
    """How a connection to Redis or RabbitMQ is encrypted. Files are paths to PEM files. ``True`` instead of the mapping
    uses the defaults."""

    ca: str
    """Certificates to trust. Default: those of the system."""
    cert: str
    """The client's certificate, where the server asks for one."""
    key: str
    """The private key of ``cert``."""
    verify: bool
    """Whether the server's certificate and host name are verified. Default: True."""
    server_name: str
    """The name in the server's certificate, where it differs from the host (not for Redis). Default: the host."""


class RedisNode(TypedDict, total=False):
    """A sentinel, or a node of a cluster."""

    host: Required[str]
    """Name or address."""
    port: int
    """Default: 26379 for a sentinel, 6379 for a node of a cluster."""


class RedisOpts(TypedDict, total=False):
    """Options of the Redis store, and of the driver."""

    url: str
    """``redis://``, ``rediss://`` (TLS), ``unix://`` (a socket), ``sentinel://`` or ``redis+cluster://``; the
    other options take precedence over its parts. Options but ``host`` and ``port`` may follow its ``?``, as in
    ``redis://localhost?db=6``; a URL that contradicts itself is refused. An IPv6 address stands in brackets:
    ``redis://[::1]:6379/0``."""
    host: str
    """Default: ``localhost``."""
    port: int
    """Default: 6379."""
    db: int
    """The number of the database. Default: 0."""
    username: str
    """Default: none."""
    password: str
    """Default: none."""
    ssl: bool | TlsOpts
    """TLS. Default: False, or True for ``rediss://``."""
    sentinels: Sequence[RedisNode | str | tuple[str, int]]
    """The sentinels; ``name`` is needed too."""
    name: str
    """The name of the master that the sentinels watch."""
    sentinel_password: str
    """The password of the sentinels themselves."""
    cluster: Sequence[RedisNode | str | tuple[str, int]]
    """Nodes of a Redis Cluster (the store only: a cluster cannot be the broker)."""
    options: Mapping[str, Any]
    """For a cluster: ``{"redis_options": {...}}``, options of each node, such as ``password``."""
    connect_timeout: Duration
    """How long connecting may take. Default: 5000."""
    command_timeout: Duration
    """How long to wait for an answer in all, including the second try. Default: 5000."""
    max_retries_per_request: int
    """How often a command is sent again over a new connection when its own was lost. A command that may have been
    executed is sent again only where repeating it is harmless, as all transitions of the store are. Default: 1."""
    auto_resend_unfulfilled_commands: bool
    """False: never send a command again. Default: True."""
    connect_retry_strategy: Callable[[int], float | None]
    """A function of the attempt (1, 2, ...) that returns the milliseconds to wait before it, or None to give up. Idle
    workers reconnect by themselves within five seconds. Default: 50 times the attempt."""
    enable_ready_check: bool
    """False: the application starts although Redis does not answer yet, or is still loading. Default: True."""
    connection_namespace: str
    """A prefix of all keys and broker queues. Default: none."""
    enable_offline_queue: bool
    """Only True is accepted: there is no queue in memory. While the broker is unreachable, jobs wait in the store;
    while the store is unreachable, calls raise ``StoreUnavailable``."""


class RedisDriverOpts(RedisOpts, total=False):
    """Options of the driver ``redis``."""

    queue_name_prefix: str
    """A prefix of the names of broker queues. Default: ``<namespace>.``, after ``connection_namespace`` if there is
    one."""


class RabbitMQOpts(TypedDict, total=False):
    """Options of the driver ``rabbitmq``; timeouts in milliseconds, ``heartbeat`` in seconds."""

    url: str
    """``amqp://`` or ``amqps://``; or give the parts. ``heartbeat``, ``login_method`` and ``ssl`` may follow
    its ``?``."""
    host: str
    """Default: ``localhost``."""
    port: int
    """Default: 5672."""
    username: str
    """Default: ``guest``."""
    password: str
    """Default: ``guest``."""
    vhost: str
    """The virtual host. Default: ``/``."""
    ssl: bool | TlsOpts
    """TLS. Default: False, or True for ``amqps://``."""
    heartbeat: float
    """Whole seconds; 0 switches heartbeats off. Default: 30."""
    quorum: bool
    """Declare queues as quorum queues. Default: False."""
    max_priority: int
    """Declare classic queues with priorities. The order of jobs does not need it. Default: none."""
    dead_letter_exchange: str
    """Where the broker puts messages that no worker can use."""
    dead_letter_routing_key: str
    """The routing key of those messages."""
    connect_timeout: float
    """Milliseconds that connecting may take. Default: half of ``command_timeout``."""
    command_timeout: float
    """Milliseconds to wait for an answer of the broker. Default: 5000."""
    queue_name_prefix: str
    """A prefix of the names of broker queues. Default: ``<namespace>.``"""


class AwsCredentials(TypedDict, total=False):
    """Credentials, where boto3's default chain does not find them."""

    access_key_id: Required[str]
    """The id of the access key."""
    secret_access_key: Required[str]
    """Its secret."""
    session_token: str
    """The session token of temporary credentials."""


class AwsOpts(TypedDict, total=False):
    """The AWS account."""

    region: str
    """The AWS region. Default: boto3's (`AWS_DEFAULT_REGION`, or that of a profile). Without one, nothing is sent,
    unless there is an `endpoint_url`."""
    credentials: AwsCredentials
    """Default: boto3's default chain (environment, profile, role of the machine)."""


class SqliteOpts(TypedDict, total=False):
    """Options of the store ``sqlite``, which needs no broker; they may be in its URL, too."""

    url: str
    """``sqlite:///jobs.db``, or ``sqlite:////var/lib/app/jobs.db`` for an absolute path."""
    synchronous: str
    """``full``: what was committed survives a power cut. ``normal``: a power cut may undo the last commits, the end of
    a process does not; single jobs are some three times as fast. ``off``: a power cut may spoil the file. Default:
    ``full``."""
    timeout: Duration
    """How long a step waits for those of other processes, in milliseconds. Default: 5000."""


class PostgresOpts(TypedDict, total=False):
    """Options of the store ``postgresql``, which needs no broker; they may be in its URL, too, beside those of
    libpq."""

    url: str
    """``postgresql://user:password@host:5432/database``."""
    migrate: str
    """``auto``: tables are made, and brought up to date, when they are needed. Default: ``never``, and the command
    ``store migrate`` does it."""
    pool_size: int
    """Connections of a process at most; one more listens. Default: 8."""
    prepare: str
    """``on``: statements are prepared, also for a pooler, which must keep them. ``off``: they are not. Default: ``on``
    unless there is a pooler between."""
    schema: str
    """The schema in which the tables are, of one namespace. Default: ``stratix_<namespace>``."""
    timeout: Duration
    """How long a step may take, and wait for those of others, in milliseconds. Default: 5000."""


class SqsOpts(TypedDict, total=False):
    """Options of the driver ``sqs``; timeouts in milliseconds, visibility and polls in seconds."""

    url: str
    """A Kombu URL of SQS, which ends after its host; the other options say the same more plainly."""
    aws: AwsOpts
    """Region and credentials."""
    role_to_assume: str | Mapping[str, Any]
    """The ARN of a role, or ``{"arn", "external_id"}``. Its credentials are renewed before they expire."""
    endpoint_url: str
    """The address of SQS, where it is not that of the region. Default: the region's."""
    connect_timeout: float
    """Milliseconds that connecting may take. Default: 5000."""
    command_timeout: float
    """Milliseconds that a call may take, with its three tries; polls have a limit of their own. Default: 5000."""
    queue_name_prefix: str
    """A prefix of the names of SQS queues. Default: ``<namespace>-``."""
    predefined_queues: Mapping[str, Any]
    """Queue name to URL, or to ``{"url", "region", ...}``. With this, no queue is looked up or created."""
    visibility_timeout: int
    """Seconds for which a received message is hidden, for queues that are created. Default: 60."""
    creation_attributes: Mapping[str, Any]
    """Attributes of queues that are created, under SQS's own names, such as ``KmsMasterKeyId``."""
    tags: Mapping[str, str]
    """Tags of queues that are created."""
    wait_time_seconds: int
    """How long an idle worker's poll waits, from 1 to 20 seconds; each poll costs a request. Default: 20."""
    redrive: str | Mapping[str, Any]
    """SQS's own dead-letter queue, for queues that are created: a name, or ``{"queue", "max_receive_count"}`` (10)."""
    priorities: bool
    """False: do not look for the queues ending in ``-p3``, ``-p6`` and ``-p9`` that earlier versions used. Default:
    True."""


class KombuOpts(TypedDict, total=False):
    """Options of a driver that is given as a Kombu URL."""

    url: str
    """The URL of the transport; or give it as ``driver``."""
    transport_options: Mapping[str, Any]
    """Options of the Kombu transport."""
    connect_timeout: float
    """Milliseconds that connecting may take. Default: 5000."""
    queue_name_prefix: str
    """A prefix of the names of broker queues. Default: ``<namespace>.``"""
