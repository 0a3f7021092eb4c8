"""Messages on Redis that a worker takes together: all, in their order, no more than it may, and none is lost."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import redis
from kombu import Connection, Consumer

from stratix_kombu.celery.receiving import Rest, take_together
from tests.celery.workers import Project
from tests.services import redis_server

COUNT = 40
OPTIONS = {"ack_emulation": False}


class Received:
    """One consumer, what it has received, and what it has asked the server for."""

    def __init__(self, url: str, prefetch: int = 100, spare: int | None = None, **options: Any) -> None:
        self.messages: list[Any] = []
        self.asked: list[str] = []
        self.fails_at: object = None
        self._connection = Connection(url, transport_options={**OPTIONS, **options})
        self.channel = self._connection.default_channel
        self.name = uuid.uuid4().hex
        self._queues = [self._connection.SimpleQueue(f"{self.name}{number}").queue for number in range(2)]
        self.channel.basic_qos(0, prefetch, False)
        self.rests: list[Callable[[], None]] = []
        rest = Rest(lambda: spare or 0, lambda _, rested: self.rests.append(rested))
        take_together(self.channel, None if spare is None else rest)
        self._consumer = Consumer(self.channel, self._queues[:1], callbacks=[self._receive], accept=["json"])

    def _receive(self, body: Any, message: Any) -> None:
        if body == self.fails_at:
            raise ZeroDivisionError
        self.messages.append(message)

    @property
    def bodies(self) -> list[Any]:
        return [message.payload for message in self.messages]

    def send(self, *bodies: object, **options: Any) -> None:
        with Connection(self._connection.as_uri(include_password=True)) as other:
            other.transport_options.update(self._connection.transport_options)
            for body in bodies:
                other.Producer().publish(body, routing_key=self.name + "0", serializer="json", **options)

    def also_consume_another_queue(self) -> None:
        self._consumer.add_queue(self._queues[1])

    def ack(self) -> None:
        for message in self.messages:
            if not message.acknowledged:
                message.ack()

    def receive(self, count: int) -> None:
        """Until it has received so many."""
        if not self._consumer.consuming_from(self._queues[0]):
            self._consumer.consume()
            self.channel.client.ping()
        while len(self.messages) < count:
            self._watch()
            self._connection.drain_events(timeout=30)

    def wait(self) -> None:
        """Until it waits for a message."""
        while not (self.channel._in_poll and self.asked[-1] == "BRPOP"):
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=0.01)

    def _watch(self) -> None:
        cycle = self.channel.connection.cycle
        cycle._client_registered(self.channel, self.channel.client, "BRPOP")
        connection = self.channel.client.connection
        if "send_command" not in vars(connection):
            send = connection.send_command

            def noted(*command: Any) -> Any:
                self.asked.append(command[0])
                return send(*command)

            connection.send_command = noted

    def close(self) -> None:
        self._connection.close()


@contextmanager
def receiving(url: str, prefetch: int = 100, spare: int | None = None, **options: Any) -> Iterator[Received]:
    received = Received(url, prefetch, spare, **options)
    try:
        yield received
    finally:
        received.close()


@pytest.mark.parametrize("prefix", ["", "mine:"])
def test_many_messages_take_few_commands(redis_url: str, prefix: str) -> None:
    with receiving(redis_url, global_keyprefix=prefix) as received:
        received.send(*range(COUNT))
        received.receive(COUNT)
        assert received.bodies == list(range(COUNT))
        # 1, 2, 4, 8 and 16, and the rest.
        assert received.asked == ["BRPOP", *["LMPOP"] * 5]
        received.messages.clear()
        received.send("one more")
        received.receive(1)
        assert received.bodies == ["one more"]
        assert received.asked[6:] == ["BRPOP"]  # the last answer was not full, so nothing more was asked for


def test_values_of_kombus_own_types_are_read_in_each_message(redis_url: str) -> None:
    at = uuid.uuid4()
    with receiving(redis_url) as received:
        received.send(1, headers={"at": at})
        received.send(2)
        received.send(3, headers={"at": at})
        with Connection(redis_url) as other:  # JSON may escape any character
            client, key = other.default_channel.client, received.name + "0"
            escaped = client.lindex(key, 0).replace(b"__type__", b"\\u005f_type__")
            client.lpush(key, escaped.replace(b"__value__", b"\\u005F_value__"))
        received.receive(4)
        assert [message.headers.get("at") for message in received.messages] == [at, None, at, at]
        assert received.asked == ["BRPOP", "LMPOP", "LMPOP"]


def test_the_second_message_is_asked_for_less_often_when_it_is_never_there(redis_url: str) -> None:
    with receiving(redis_url) as received:
        for number in range(COUNT):
            received.send(number)
            received.receive(number + 1)
            received.wait()
        assert received.bodies == list(range(COUNT))
        # Behind the first one, and then behind 2, 4, 8 and 16 more.
        assert received.asked.count("LMPOP") == 5


def test_no_more_than_the_prefetch_count_are_taken(redis_url: str) -> None:
    with receiving(redis_url, prefetch=7) as received:
        received.send(*range(COUNT))
        for end in range(7, COUNT, 7):
            received.receive(end)
            with pytest.raises(TimeoutError):
                received._connection.drain_events(timeout=0.01)
            assert received.bodies == list(range(end))
            received.ack()
        received.receive(COUNT)
        assert received.bodies == list(range(COUNT))


def _nothing_comes(received: Received) -> bool:
    before = len(received.messages)
    with suppress(TimeoutError):
        received._connection.drain_events(timeout=0.01)
    return len(received.messages) == before


def test_who_has_enough_waits_for_room_for_several(redis_url: str) -> None:
    with receiving(redis_url, prefetch=8, spare=6) as received:
        received.send(*range(COUNT))
        received.receive(7)
        assert received.asked == ["BRPOP", "LMPOP", "LMPOP"]
        for message in received.messages[:2]:
            assert _nothing_comes(received)
            message.ack()
        received.receive(10)
        assert received.asked[3:] == ["LMPOP"]
        assert received.bodies == list(range(10))


def test_who_has_waited_long_enough_asks_for_one(redis_url: str) -> None:
    with receiving(redis_url, prefetch=8, spare=6) as received:
        received.send(*range(COUNT))
        received.receive(7)
        assert _nothing_comes(received)
        (rested,) = received.rests
        rested()
        received.receive(8)
        assert received.asked[3:] == ["BRPOP"]
        assert received.bodies == list(range(8))
        assert len(received.rests) == 2  # for the next ones


@pytest.mark.parametrize("spare", [0, 3])
def test_who_has_little_to_spare_waits_for_no_room(redis_url: str, spare: int) -> None:
    with receiving(redis_url, prefetch=8, spare=spare) as received:
        received.send(*range(COUNT))
        received.receive(8)
        assert received.bodies == list(range(8))
        assert received.asked == ["BRPOP", "LMPOP", "LMPOP", "BRPOP"]


def test_urgent_messages_come_first(redis_url: str) -> None:
    with receiving(redis_url) as received:
        received.send(*range(10), priority=9)
        received.send(*range(10, 20), priority=0)
        received.receive(20)
        assert received.bodies == [*range(10, 20), *range(10)]


def test_several_queues_share_the_room(redis_url: str) -> None:
    with receiving(redis_url, prefetch=5) as received:
        received.also_consume_another_queue()
        received.send(*range(5))
        received.receive(5)
        assert received.bodies == list(range(5))
        assert received.asked == ["BRPOP", "LMPOP", "BRPOP", "BRPOP"]


def test_messages_behind_an_error_are_put_back(redis_url: str) -> None:
    with receiving(redis_url, global_keyprefix="mine:") as received:
        received.send(*range(COUNT))
        received.fails_at = 10
        with pytest.raises(ZeroDivisionError):
            received.receive(COUNT)
        assert received.bodies == list(range(10))
        received.fails_at = None
        received.receive(COUNT - 1)
        assert received.bodies == [*range(10), *range(11, COUNT)]  # Kombu keeps the other one, unacknowledged


def test_whoever_decides_after_each_message_gets_them_one_by_one(redis_url: str) -> None:
    """Celery's ``worker_disable_prefetch`` does so."""
    with receiving(redis_url) as received:
        qos = received.channel.qos
        qos.can_consume = lambda: type(qos).can_consume(qos)
        received.send(*range(5))
        received.receive(5)
        assert received.bodies == list(range(5))
        assert received.asked == ["BRPOP"] * 5


@pytest.mark.parametrize(
    "arguments",
    [("--rename-command", "LMPOP", ""), ("--user", "default", "on", "nopass", "~*", "&*", "+@all", "-lmpop")],
    ids=["older", "forbidden"],
)
def test_a_server_without_the_command_is_asked_once(arguments: tuple[str, ...]) -> None:
    with redis_server(*arguments) as url, receiving(url) as received:
        received.send(*range(5))
        received.receive(5)
        assert received.bodies == list(range(5))
        assert received.asked == ["BRPOP", "LMPOP", *["BRPOP"] * 4]


def test_where_acknowledgements_are_emulated_messages_are_taken_one_by_one(redis_url: str) -> None:
    with receiving(redis_url, ack_emulation=True) as received:
        received.send(*range(5))
        received.receive(5)
        assert received.bodies == list(range(5))
        assert received.asked.count("LMPOP") == 0


def test_a_worker_takes_what_waits_together() -> None:
    with redis_server() as url:
        project = Project(url, url)
        try:
            results = [project.task("add").delay(number, 1) for number in range(COUNT)]
            with project.worker():
                assert [one.get(timeout=60) for one in results] == list(range(1, COUNT + 1))
            commands = redis.Redis.from_url(url).info("commandstats")
            assert commands["cmdstat_lmpop"]["calls"] > 0
        finally:
            project.close()
