"""A driver for RabbitMQ behind a proxy."""

from __future__ import annotations

import uuid

from stratix_kombu.drivers.rabbitmq import RabbitMQDriver
from stratix_kombu.model.record import Ready
from tests.faults.proxy import Proxy

REPLY_S = 1.0


class Sender:
    """A driver behind a proxy, and what it has reported."""

    def __init__(self, url: str, reply_s: float = REPLY_S) -> None:
        self.proxy = Proxy(url)
        self.namespace = f"conf{uuid.uuid4().hex[:8]}"
        options = {"url": self.proxy.url, "command_timeout": reply_s * 1000}
        self.driver = RabbitMQDriver(options, namespace=self.namespace)
        self.watcher = RabbitMQDriver({"url": url}, namespace=self.namespace)
        self.reported: list[tuple[str, BaseException | None]] = []

    def submit(self, *jobs: Ready) -> bool:
        return self.driver.submit(jobs, lambda *heard: self.reported.append(heard))

    def depth(self, queue: str = "q") -> int | None:
        return self.watcher.depth(queue)

    def close(self) -> None:
        self.proxy.thaw()
        self.driver.close()
        self.watcher.close()
        self.proxy.close()
