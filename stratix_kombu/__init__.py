"""Background jobs with the queue API of BullMQ on Redis, Amazon SQS or RabbitMQ, for teams that have Celery."""

from importlib.metadata import PackageNotFoundError, version

from stratix_kombu.application import Application, create_app
from stratix_kombu.drivers.contract import DriverCapabilities, QueueDriver, Receiver, TransportDriver
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.drivers.registry import register_queue_driver
from stratix_kombu.errors import (
    Closed,
    ConfigurationError,
    DependencyCycle,
    DependencyNotFound,
    DriverUnavailable,
    InvalidJobState,
    InvalidPayload,
    JobAlreadyStarted,
    JobCancelled,
    JobError,
    JobFailed,
    JobNotFound,
    MissingExtra,
    PayloadNotSerializable,
    PayloadTooLarge,
    QueueNotEmpty,
    RateLimited,
    RepeatableJobNotFound,
    StaleClaim,
    StoreUnavailable,
    StratixError,
    Unavailable,
    UnknownDriver,
    UnrecoverableError,
    WaitTimeout,
)
from stratix_kombu.flow import Flow
from stratix_kombu.job import Job
from stratix_kombu.plugins import queue_plugin, schedule_plugin
from stratix_kombu.queue import Queue
from stratix_kombu.queues import QueueManager
from stratix_kombu.repeatables import RepeatableJob

try:
    __version__ = version("stratix-kombu")
except PackageNotFoundError:  # running from a checkout that is not installed
    __version__ = "0"

__all__ = [
    "Application",
    "Closed",
    "ConfigurationError",
    "DependencyCycle",
    "DependencyNotFound",
    "DriverCapabilities",
    "DriverUnavailable",
    "Flow",
    "InvalidJobState",
    "InvalidPayload",
    "Job",
    "JobAlreadyStarted",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobNotFound",
    "KombuDriver",
    "MissingExtra",
    "PayloadNotSerializable",
    "PayloadTooLarge",
    "Queue",
    "QueueDriver",
    "QueueManager",
    "QueueNotEmpty",
    "RateLimited",
    "Receiver",
    "RepeatableJob",
    "RepeatableJobNotFound",
    "StaleClaim",
    "StoreUnavailable",
    "StratixError",
    "TransportDriver",
    "Unavailable",
    "UnknownDriver",
    "UnrecoverableError",
    "WaitTimeout",
    "create_app",
    "queue_plugin",
    "register_queue_driver",
    "schedule_plugin",
]
