"""Each test names the place in the package that would break with it."""

from __future__ import annotations

import inspect
import json
import queue
import uuid

import amqp
from botocore.credentials import DeferredRefreshableCredentials
from botocore.session import Session
from kombu import Connection, Producer, compression
from kombu.transport import SQS, TRANSPORT_ALIASES, memory, redis as redis_transport
from redis import Redis

from stratix_kombu.drivers.native import COMPRESSIONS
from stratix_kombu.drivers.redis import RedisDriver
from stratix_kombu.drivers.registry import create_driver
from stratix_kombu.drivers.sqs.queues import sqs_name
from stratix_kombu.model.message import read_envelope


def test_priority_steps_and_separator() -> None:
    """drivers/redis.py: the keys of a queue's lists."""
    assert redis_transport.PRIORITY_STEPS == [0, 3, 6, 9]
    assert redis_transport.Channel.sep == "\x06\x16"


def test_the_format_of_messages_in_a_list(redis_url: str) -> None:
    """drivers/redis.py, ``inline_queue``: what a script writes has the fields of what Kombu writes."""
    driver = create_driver("redis", {"url": redis_url}, namespace=f"u{uuid.uuid4().hex[:8]}")
    assert isinstance(driver, RedisDriver)
    inline = driver.inline_queue()
    assert inline is not None
    list_key = f"{inline.prefix}q"
    ours = json.loads(inline.template % ("id-1", "tag-1", list_key))
    assert ours["properties"]["delivery_tag"] == "tag-1"
    assert ours["properties"]["delivery_info"] == {"exchange": "", "routing_key": list_key}
    assert read_envelope(json.dumps(ours)) == ("id-1", "", None)
    with Connection(redis_url) as connection, Redis.from_url(redis_url) as client:
        other = f"kombu{uuid.uuid4().hex[:8]}"
        channel = connection.channel()
        producer = Producer(channel)
        headers = ours["headers"]
        producer.publish(
            "[]",
            routing_key=other,
            headers=headers,
            content_type="application/json",
            content_encoding="utf-8",
            priority=0,
            delivery_mode=2,
        )
        theirs = json.loads(client.lindex(other, 0) or b"null")
    assert theirs["headers"] == headers
    assert set(theirs) == set(ours)
    assert set(theirs["properties"]) - set(ours["properties"]) <= {"delivery_mode", "body_encoding"}
    driver.close()


def test_confirms_are_emitted_as_events_of_the_channel() -> None:
    """drivers/rabbitmq/confirms.py: acks, nacks and returns of many queues at once."""
    source = inspect.getsource(amqp.Channel)
    assert "self.events['basic_ack']" in source or "events" in source
    assert callable(amqp.Channel.confirm_select)
    channel_init = inspect.getsource(amqp.Channel.__init__)
    assert "self.events = defaultdict(set)" in channel_init
    for name in ("basic_ack", "basic_nack", "basic_return"):
        assert f"'{name}'" in source or hasattr(amqp.Channel, f"_on_{name}"), name


def test_frames_are_read_as_they_come_and_written_as_they_are() -> None:
    """drivers/rabbitmq/link.py: what is read beyond a part of a frame is kept; what is written is not changed."""
    for transport in (amqp.transport.TCPTransport, amqp.transport.SSLTransport):
        setup, read = inspect.getsource(transport._setup_transport), inspect.getsource(transport._read)
        assert "self._quick_recv = self.sock.re" in setup
        assert "recv = self._quick_recv" in read
        assert "self._read_buffer = rbuf[:n], rbuf[n:]" in read
        assert list(inspect.signature(transport.write).parameters) == ["self", "s"]
        assert "rbuf = self._read_buffer" in read, "what was read is taken from there first"


def test_a_connection_reports_when_it_is_blocked() -> None:
    """drivers/rabbitmq/confirms.py sets both; brokers send no alarms without the capability."""
    assert amqp.Connection.negotiate_capabilities["connection.blocked"]
    connection, heard = amqp.Connection(), list[str]()
    connection.on_blocked = heard.append
    connection.on_unblocked = lambda: heard.append("unblocked")
    connection._on_blocked()
    connection._on_unblocked()
    assert len(heard) == 2


def test_sqs_names_and_addresses() -> None:
    """drivers/sqs/: Celery workers find a queue under the name that we send to, at the address of their URL."""
    for name in ("mail", "shop-mail.out", "a_b-c", "orders.v2.fifo", "x.fifo.y"):
        assert SQS.Channel.entity_name(None, name) == sqs_name(name), name
    assert Connection("sqs://").hostname is None
    named = Connection("sqs://key:s%2Fcret@localhost:4566//")
    assert (named.hostname, named.port, named.userid, named.password) == ("localhost", 4566, "key", "s/cret")


def test_credentials_of_a_role_are_renewed_by_botocore() -> None:
    """drivers/sqs/clients.py: a provider of our own, whose credentials ask us again before they expire."""
    assert list(inspect.signature(DeferredRefreshableCredentials).parameters)[:2] == ["refresh_using", "method"]
    assert "credential_provider" in inspect.getsource(Session.get_credentials)
    assert callable(Session.register_component)


def test_memory_queues_announce_by_put() -> None:
    """drivers/memory.py: the one place where a message enters a queue; and where transports are named."""
    assert list(inspect.signature(memory.Channel._put).parameters)[:3] == ["self", "queue", "message"]
    assert isinstance(TRANSPORT_ALIASES, dict)
    with Connection("memory://") as connection:
        held = connection.channel()._queue_for("levels")
    assert type(held) is queue.Queue
    source = inspect.getsource(queue.Queue)
    for used in ("self.queue = deque()", "len(self.queue)", "self.queue.append(item)", "self.queue.popleft()"):
        assert used in source, used
    assert "q.queue.clear()" in inspect.getsource(memory.Channel._purge)
    assert TRANSPORT_ALIASES["memory"] == "kombu.transport.memory:Transport"


def test_the_names_of_compressions() -> None:
    """drivers/native.py: what is meant by a name that is misspelt."""
    for name in COMPRESSIONS:
        assert compression.compress("text", name)[1] in compression.encoders()
