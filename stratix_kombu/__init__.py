"""Background jobs with the queue API of BullMQ on Redis, PostgreSQL, SQS or RabbitMQ, for teams that have Celery.

The public names are imported when they are first used: a program such as ``celery``, which loads this package for an
entry point, loads only what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names for type checkers: a test compares them with those below
    from stratix_kombu.application import Application as Application, create_app as create_app
    from stratix_kombu.drivers.contract import (
        DriverCapabilities as DriverCapabilities,
        QueueDriver as QueueDriver,
        QueueInstance as QueueInstance,
        Receiver as Receiver,
        TransportDriver as TransportDriver,
    )
    from stratix_kombu.drivers.kombu import KombuDriver as KombuDriver
    from stratix_kombu.drivers.registry import register_queue_driver as register_queue_driver
    from stratix_kombu.errors import (
        Closed as Closed,
        ConfigurationError as ConfigurationError,
        DependencyCycle as DependencyCycle,
        DependencyNotFound as DependencyNotFound,
        DriverUnavailable as DriverUnavailable,
        EventsMissed as EventsMissed,
        InvalidJobState as InvalidJobState,
        InvalidPayload as InvalidPayload,
        JobAlreadyStarted as JobAlreadyStarted,
        JobCancelled as JobCancelled,
        JobError as JobError,
        JobFailed as JobFailed,
        JobIdTaken as JobIdTaken,
        JobNotFound as JobNotFound,
        MissingExtra as MissingExtra,
        PayloadNotSerializable as PayloadNotSerializable,
        PayloadTooLarge as PayloadTooLarge,
        QueueNotEmpty as QueueNotEmpty,
        RateLimited as RateLimited,
        RecordLost as RecordLost,
        RepeatableJobNotFound as RepeatableJobNotFound,
        StaleClaim as StaleClaim,
        StoreUnavailable as StoreUnavailable,
        StratixError as StratixError,
        Unavailable as Unavailable,
        UnknownDriver as UnknownDriver,
        UnrecoverableError as UnrecoverableError,
        WaitTimeout as WaitTimeout,
    )
    from stratix_kombu.health import Health as Health
    from stratix_kombu.model.metrics import QueueMetrics as QueueMetrics
    from stratix_kombu.model.middleware import JobHead as JobHead, Taking as Taking
    from stratix_kombu.plugins import queue_plugin as queue_plugin, schedule_plugin as schedule_plugin
    from stratix_kombu.queue.flow import Flow as Flow
    from stratix_kombu.queue.job import Job as Job
    from stratix_kombu.queue.manager import QueueManager as QueueManager
    from stratix_kombu.queue.queue import Queue as Queue
    from stratix_kombu.queue.repeatables import RepeatableJob as RepeatableJob
    from stratix_kombu.registry import Handlers as Handlers

    __version__: str

_HOMES = {
    "application": "Application create_app",
    "drivers.contract": "DriverCapabilities QueueDriver QueueInstance Receiver TransportDriver",
    "drivers.kombu": "KombuDriver",
    "drivers.registry": "register_queue_driver",
    "errors": (
        "Closed ConfigurationError DependencyCycle DependencyNotFound DriverUnavailable EventsMissed "
        "InvalidJobState InvalidPayload JobAlreadyStarted JobCancelled JobError JobFailed JobIdTaken "
        "JobNotFound MissingExtra PayloadNotSerializable PayloadTooLarge QueueNotEmpty RateLimited RecordLost "
        "RepeatableJobNotFound StaleClaim StoreUnavailable StratixError Unavailable UnknownDriver "
        "UnrecoverableError WaitTimeout"
    ),
    "health": "Health",
    "model.metrics": "QueueMetrics",
    "model.middleware": "JobHead Taking",
    "plugins": "queue_plugin schedule_plugin",
    "queue.flow": "Flow",
    "queue.job": "Job",
    "queue.manager": "QueueManager",
    "queue.queue": "Queue",
    "queue.repeatables": "RepeatableJob",
    "registry": "Handlers",
}
"""Per module: the public names that are there."""
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_HOME)


if not TYPE_CHECKING:  # so that a type checker reports a missing name

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return _version()
        if name not in _HOME:
            from stratix_kombu.hints import not_exported

            raise not_exported(__name__, name, __all__)
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("stratix-kombu")
    except PackageNotFoundError:  # running from a checkout that is not installed
        return "0"
