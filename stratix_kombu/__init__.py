"""Background jobs with the queue API of BullMQ on Redis, Amazon SQS or RabbitMQ, for teams that have Celery.

The public names are imported when they are first used: a program such as ``celery``, which loads this package for an
entry point, does not wait for what it does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stratix_kombu.application import Application, create_app
    from stratix_kombu.drivers.contract import DriverCapabilities, QueueDriver, QueueInstance, Receiver, TransportDriver
    from stratix_kombu.drivers.kombu import KombuDriver
    from stratix_kombu.drivers.registry import register_queue_driver
    from stratix_kombu.errors import (
        Closed,
        ConfigurationError,
        DependencyCycle,
        DependencyNotFound,
        DriverUnavailable,
        EventsMissed,
        InvalidJobState,
        InvalidPayload,
        JobAlreadyStarted,
        JobCancelled,
        JobError,
        JobFailed,
        JobIdTaken,
        JobNotFound,
        MissingExtra,
        PayloadNotSerializable,
        PayloadTooLarge,
        QueueNotEmpty,
        RateLimited,
        RecordLost,
        RepeatableJobNotFound,
        StaleClaim,
        StoreUnavailable,
        StratixError,
        Unavailable,
        UnknownDriver,
        UnrecoverableError,
        WaitTimeout,
    )
    from stratix_kombu.health import Health
    from stratix_kombu.model.metrics import QueueMetrics
    from stratix_kombu.model.middleware import JobHead, Taking
    from stratix_kombu.plugins import queue_plugin, schedule_plugin
    from stratix_kombu.queue.flow import Flow
    from stratix_kombu.queue.job import Job
    from stratix_kombu.queue.manager import QueueManager
    from stratix_kombu.queue.queue import Queue
    from stratix_kombu.queue.repeatables import RepeatableJob

    __version__: str

_HOMES = {
    "application": "Application create_app",
    "drivers.contract": "DriverCapabilities QueueDriver QueueInstance Receiver TransportDriver",
    "drivers.kombu": "KombuDriver",
    "drivers.registry": "register_queue_driver",
    "errors": (
        "Closed ConfigurationError DependencyCycle DependencyNotFound DriverUnavailable EventsMissed "
        "InvalidJobState InvalidPayload JobAlreadyStarted JobCancelled JobError JobFailed JobIdTaken JobNotFound "
        "MissingExtra "
        "PayloadNotSerializable PayloadTooLarge QueueNotEmpty RateLimited RecordLost RepeatableJobNotFound "
        "StaleClaim StoreUnavailable StratixError Unavailable UnknownDriver UnrecoverableError WaitTimeout"
    ),
    "queue.flow": "Flow",
    "health": "Health",
    "queue.job": "Job",
    "model.metrics": "QueueMetrics",
    "model.middleware": "JobHead Taking",
    "plugins": "queue_plugin schedule_plugin",
    "queue.queue": "Queue",
    "queue.manager": "QueueManager",
    "queue.repeatables": "RepeatableJob",
}
"""Per module: the public names that are there."""
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


if not TYPE_CHECKING:  # a type checker is to find a name that is not there

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return _version()
        if name not in _HOME:
            from stratix_kombu.hints import not_exported

            raise not_exported(__name__, name, __all__)
        found = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("stratix-kombu")
    except PackageNotFoundError:  # running from a checkout that is not installed
        return "0"


__all__ = [
    "Application",
    "Closed",
    "ConfigurationError",
    "DependencyCycle",
    "DependencyNotFound",
    "DriverCapabilities",
    "DriverUnavailable",
    "EventsMissed",
    "Flow",
    "Health",
    "InvalidJobState",
    "InvalidPayload",
    "Job",
    "JobAlreadyStarted",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobHead",
    "JobIdTaken",
    "JobNotFound",
    "KombuDriver",
    "MissingExtra",
    "PayloadNotSerializable",
    "PayloadTooLarge",
    "Queue",
    "QueueDriver",
    "QueueInstance",
    "QueueManager",
    "QueueMetrics",
    "QueueNotEmpty",
    "RateLimited",
    "Receiver",
    "RecordLost",
    "RepeatableJob",
    "RepeatableJobNotFound",
    "StaleClaim",
    "StoreUnavailable",
    "StratixError",
    "Taking",
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
