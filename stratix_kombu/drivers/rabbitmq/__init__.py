"""RabbitMQ: durable queues, persistent messages, publisher confirms.

``driver`` has the options and the contract's methods, ``link`` one connection, ``wire`` the bytes of a permit,
``confirms`` what the broker says about what was sent over a link, ``outbox`` what is sent again, ``receiver`` and
``watcher`` what is received.
"""

from stratix_kombu.drivers.rabbitmq.driver import RabbitMQDriver

__all__ = ["RabbitMQDriver"]
