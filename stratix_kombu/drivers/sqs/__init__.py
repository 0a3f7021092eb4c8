"""Amazon SQS, over boto3: Kombu sends and deletes one message a call, and needs permissions that few should have.

``options`` reads the configuration into Kombu's transport options (which a Celery application with the bridge has
already), ``clients`` makes clients with credentials that are good now, ``queues`` finds and creates queues,
``messages`` builds and reads messages, ``receiver`` takes them, and ``driver`` is the driver.
"""

from __future__ import annotations

from stratix_kombu.errors import MissingExtra

try:
    import boto3  # noqa: F401 - Kombu's module can be imported without it
    from kombu.transport import SQS  # noqa: F401
except ImportError as problem:  # pragma: no cover - tested in a process of its own
    raise MissingExtra("sqs", "boto3", "the SQS driver") from problem

from stratix_kombu.drivers.sqs.driver import SQSDriver

__all__ = ["SQSDriver"]
