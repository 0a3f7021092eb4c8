"""Messages of other programs."""

from __future__ import annotations

from celery import Celery

from stratix_kombu import TransportDriver
from stratix_kombu.drivers.kombu import KombuDriver


def send_celery_task(driver: TransportDriver, queue: str) -> None:
    """A Celery task message of another's, sent by Celery itself to the queue's broker queue."""
    assert isinstance(driver, KombuDriver)
    celery = Celery("foreign", broker=driver.url)
    celery.conf.broker_transport_options = driver.transport_options
    celery.send_task("somebody.elses", args=(1, 2), queue=driver.broker_queue(queue))
    celery.close()
