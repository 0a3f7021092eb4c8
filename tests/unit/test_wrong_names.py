"""A name, id or key that cannot be one: the error says what it was given for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, create_app, register_queue_driver
from stratix_kombu.config.options import QueueOptions
from stratix_kombu.config.settings import load_settings
from stratix_kombu.drivers.memory import MemoryDriver

ADD = "add('n') on queue 'q': "


@pytest.mark.parametrize("value", ["a b", "", 5])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (lambda value: {"job_id": value}, "'job_id': {} cannot be a job id"),
        (lambda value: {"dependencies": [value]}, "'dependencies': {} cannot be a job id"),
        (lambda value: {"group": value}, "'group': {} cannot name a group"),
        (lambda value: {"deduplication": {"id": value}}, "'deduplication'['id']: {} cannot be a job id"),
        (lambda value: {"limiter": {"max": 1, "duration": 5, "key": value}}, "'limiter'['key']: {} cannot be a job id"),
    ],
)
def test_of_options_of_a_job(app: Application, options: Callable[[Any], Any], words: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(ADD + words.format(repr(value)))):
        app.queue.get_queue("q").add("n", None, options(value))


def test_of_a_deduplication_without_an_id(app: Application) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"{ADD}'deduplication'['id']: None cannot be a job id")):
        app.queue.get_queue("q").add("n", deduplication={"ttl": 5})


def test_of_the_prefix_of_repeatable_jobs(app: Application) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"{ADD}'job_id': 'repeat:x' cannot be a job id")):
        app.queue.get_queue("q").add("n", job_id="repeat:x")


def test_of_an_empty_custom_backoff(app: Application) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"{ADD}'backoff' must be a function")):
        app.queue.get_queue("q").add("n", backoff={"custom": ""})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dead_letter": "a b"}, "queue 'q': 'dead_letter': 'a b' cannot name a queue"),
        ({"dead_letter": 5}, "queue 'q': 'dead_letter': 5 cannot name a queue"),
        ({"limiter": {"max": 1, "duration": 5, "key": "a b"}}, "queue 'q': 'limiter'['key']: 'a b' cannot be"),
    ],
)
def test_of_options_of_a_queue(options: dict[str, Any], words: str) -> None:
    settings = load_settings({}, environment={})
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        QueueOptions.parse(options, "queue 'q'", settings.job_defaults)


def test_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match="'queues': 'a b' cannot name a queue"):
        load_settings({"queues": {"a b": {}}}, environment={})


@pytest.mark.parametrize(
    ("configured", "made", "said"),
    [
        (
            ["emials"],
            ["emails"],
            ["options for 'emials', a queue that this process does not have; did you mean 'emails'?"],
        ),
        (["emials", "emails"], ["emails"], []),
        (["emails"], ["emails"], []),
        (["orders"], ["emails", "order-events"], []),
    ],
)
def test_of_a_queue_of_the_configuration(
    configured: list[str], made: list[str], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Another program may have it, so that it is a hint."""
    with create_app({"driver": "memory", "queues": {name: {"concurrency": 2} for name in configured}}) as app:
        for name in made:
            app.queue.get_queue(name)
        app.start()
    found = [one.getMessage() for one in caplog.records if vars(one).get("action") == "unknown_queue"]
    assert len(found) == len(said)
    assert all(one.endswith(text) for one, text in zip(found, said, strict=True))


def test_of_a_repeatable_job_and_of_a_limit(app: Application) -> None:
    queue = app.queue.get_queue("q")
    words = "the key 'a b' of a repeatable job: 'q:a b' cannot be a job id"
    steps: tuple[Callable[[], object], ...] = (
        lambda: queue.add_repeatable_job("n", every=1000, key="a b"),
        lambda: queue.pause_repeatable_job("a b"),
        lambda: queue.remove_repeatable_job(key="a b"),
    )
    for step in steps:
        with pytest.raises(ConfigurationError, match=words):
            step()
    with pytest.raises(ConfigurationError, match=r"set_rate_limit\['key'\]: 'a b' cannot be"):
        queue.set_rate_limit({"max": 1, "duration": 5, "key": "a b"})


@pytest.mark.parametrize("name", ["", 5, "a\nb"])
def test_of_a_driver(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"{name!r} cannot name a driver: use 1 to 200")):
        register_queue_driver(name, MemoryDriver)


@pytest.mark.parametrize("given", [5, None, pytest, "handlers"])
def test_what_is_included_are_handlers(given: Any) -> None:
    with create_app({"driver": "memory"}) as app, pytest.raises(ConfigurationError) as refused:
        app.include(given)
    assert f"include: {given!r} is not a Handlers: declare" in str(refused.value)
