"""Drivers of the user's own, as the document has them: queues of their own, async methods, no store of ours."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from stratix_kombu import (
    ConfigurationError,
    QueueDriver,
    QueueInstance,
    create_app,
    queue_plugin,
    register_queue_driver,
)
from stratix_kombu.drivers import registry
from stratix_kombu.drivers.memory import MemoryDriver, MemoryReceiver
from tests.waiting import until


class Instance(QueueInstance):
    """Runs its jobs at once."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name, self.options = name, options
        self.closed: list[Any] = []

    async def add(self, name: str, data: Any = None, opts: Mapping[str, Any] | None = None) -> Any:
        return self.handler(data)

    def process(self, *handler: Any) -> None:
        self.handler = handler[-1]

    async def close(self, timeout: float | None = None) -> Any:
        self.closed.append((asyncio.get_running_loop(), timeout))
        return True


class Driver(QueueDriver):
    """All that may be async is."""

    healthy: Any = True

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.loops: list[Any] = []

    async def init(self) -> None:  # type: ignore[override]
        self.loops.append(asyncio.get_running_loop())

    async def create_queue(self, name: str, options: Mapping[str, Any]) -> Any:
        return Instance(name, options)

    async def close(self) -> None:  # type: ignore[override]
        self.loops.append(asyncio.get_running_loop())

    def get_name(self) -> str:
        return "custom"

    async def check_health(self) -> bool:  # type: ignore[override]
        return bool(self.healthy)


@pytest.fixture
def register() -> Iterator[Callable[..., str]]:
    """Registers a driver under a name of its own, or the one given, and forgets it."""
    before = dict(registry._registered)

    def under(factory: Any, name: str = "") -> str:
        name = name or f"own{uuid.uuid4().hex[:6]}"
        register_queue_driver(name, factory)
        return name

    yield under
    registry._registered.clear()
    registry._registered.update(before)


@pytest.mark.parametrize("name", ["", "sqs", "rabbitmq", "redis"])
def test_a_documented_driver_needs_no_store_and_is_awaited(register: Callable[..., str], name: str) -> None:
    made: list[Driver] = []

    def factory(options: dict[str, Any]) -> Driver:
        made.append(Driver(options))
        return made[0]

    name = register(factory, name)
    app = create_app()
    aws = {"region": "us-east-1", "credentials": {"accessKeyId": "KEY"}, "headers": {"X-Name": "x"}}
    app.register(queue_plugin, {"driver": name, name: {"aws": aws, "maxRetries": 3}})
    queue: Any = app.queue.create_queue("tasks", {"maxSize": 5}, min_size=1)
    assert made[0].options == {
        "aws": {"region": "us-east-1", "credentials": {"access_key_id": "KEY"}, "headers": {"X-Name": "x"}},
        "max_retries": 3,
    }
    assert (queue.name, queue.options) == ("tasks", {"max_size": 5, "min_size": 1})
    app.start()
    queue.process(lambda data: data * 2)
    assert asyncio.run(queue.add("double", 21)) == 42
    assert app.queue.check_health() == {"driver": True, "store": True}
    made[0].healthy = False
    assert app.queue.check_health()["driver"] is False
    app.close(timeout=5)
    ((loop, timeout),) = queue.closed
    assert made[0].loops == [loop, loop]
    assert timeout == 5


def test_queues_that_cannot_be_closed_are_reported(
    register: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    class NoClose:
        pass

    class Plain:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    plain = Plain()
    queues = {"none": NoClose(), "plain": plain}

    class Documented(Driver):
        def create_queue(self, name: str, options: Mapping[str, Any]) -> Any:  # type: ignore[override]
            return queues[name]

    app = create_app({"driver": register(Documented)})
    for name in queues:
        app.queue.create_queue(name)
    app.start()
    assert app.close()
    (said,) = (one.getMessage() for one in caplog.records if "close()" in one.getMessage())
    assert said == (
        "queue 'none': what the driver 'custom' has made has no close(), so it is not closed with the application"
    )
    assert plain.closed == 1


@pytest.mark.parametrize("store", ["", "redis"])
def test_locks_without_a_store_are_said_to_be_local(
    register: Callable[..., str], store: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    named = {"store": request.getfixturevalue("redis_url")} if store else {}
    app = create_app({"driver": register(Driver), **named})
    app.schedule.interval(100, print, once=True, name="s", limit=1)
    for _ in range(2):
        lock = app.distributed_lock.acquire(uuid.uuid4().hex, 1000)
        assert lock is not None
    app.start()
    until(lambda: app.schedule.list()[0].runs == 1)
    said = [one.getMessage() for one in caplog.records if "apply within this process only" in one.getMessage()]
    assert len(said) == (not store)
    app.close()


def test_what_an_async_driver_raises_is_raised(register: Callable[..., str]) -> None:
    class Broken(Driver):
        async def init(self) -> None:  # type: ignore[override]
            raise ZeroDivisionError

    app = create_app({"driver": register(Broken)})
    with pytest.raises(ZeroDivisionError):
        app.start()
    app.close()


def test_drivers_that_cannot_be_used_are_refused_by_name(register: Callable[..., str]) -> None:
    class NoClose:
        def init(self) -> None: ...

        create_queue = get_name = check_health = init

    class AsyncName(Driver):
        async def get_name(self) -> str:  # type: ignore[override]
            return ""

    class AsyncPublish(MemoryDriver):
        async def publish(self, jobs: Any) -> None:  # type: ignore[override]
            ...

    async def factory(options: dict[str, Any]) -> Driver:
        return Driver(options)

    def memory(options: dict[str, Any]) -> AsyncPublish:
        return AsyncPublish({}, namespace="mine")

    for given, words in (
        (lambda options: NoClose(), r"NoClose has no close\(\), see QueueDriver"),
        (AsyncName, "get_name must be a plain function"),
        (memory, "publish must be a plain function: it is `async def`"),
        (lambda options: factory(options), "must be a plain function: connect in its `init`"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            _ = create_app({"driver": register(given), "store": "memory://"}).queue
    with pytest.raises(ConfigurationError, match=r"the factory of driver '.*' must be a plain function"):
        register(factory)
    with pytest.raises(ConfigurationError, match="'bullmq' is another name of 'redis': register the driver under that"):
        register(Driver, "bullmq")


def test_an_async_receiver_is_reported(register: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    class AsyncReceiver(MemoryReceiver):
        async def acknowledge(self, deliveries: Any) -> None:  # type: ignore[override]
            ...

    class Own(MemoryDriver):
        def receiver(self, queue: str, slots: int) -> Any:
            receiver = super().receiver(queue, slots)
            receiver.__class__ = AsyncReceiver
            return receiver

    said, errors = "the receiver of queue 'q': acknowledge must be a plain function", list[BaseException]()
    with create_app({"driver": register(lambda options: Own({}, namespace="mine")), "store": "memory://"}) as app:
        queue = app.queue.create_queue("q")
        queue.on("error", errors.append)
        queue.process(lambda job: 1)
        app.start()
        queue.add("n")  # until there is work, a queue needs no receiver
        until(lambda: any(said in str(one) for one in errors))


def test_replacing_a_built_in_driver_is_logged(register: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    register(lambda options: MemoryDriver({}, namespace="mine"), "rabbitmq")
    register(lambda options: MemoryDriver({}, namespace="mine"), "rabbitmq")
    said = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert said == ["the built-in driver 'rabbitmq' is replaced by a driver of this program"]
    with pytest.raises(ConfigurationError, match="needs a 'store'"):
        _ = create_app({"driver": "rabbitmq"}).queue


def test_a_driver_of_messages_in_the_place_of_redis_keeps_its_store(
    register: Callable[..., str], redis_url: str
) -> None:
    register(lambda options: MemoryDriver({}, namespace="mine"), "redis")
    app = create_app({"driver": "redis", "redis": {"url": redis_url}})
    assert "store redis://" in app.queue.describe()
    app.close()


def test_it_is_initialised_again_when_the_application_is_started_again(register: Callable[..., str]) -> None:
    """Its queues are the same ones, with their handlers; each start has a loop of its own."""
    driver = Driver({})
    name = register(lambda options: driver)
    app = create_app({"driver": name})
    queue: Any = app.queue.create_queue("tasks")
    queue.process(lambda data: data * 2)
    driver.loops.clear()
    for _ in range(3):
        with app:
            app.start()
            assert app.queue.get_queue("tasks") is queue
            assert asyncio.run(queue.add("double", 21)) == 42
            assert app.queue.check_health() == {"driver": True, "store": True}
    assert len(driver.loops) == 6  # init and close, three times
    assert len({id(one) for one in driver.loops}) == 3
    assert len(queue.closed) == 3
