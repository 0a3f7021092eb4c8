"""Options by keyword, as a mapping at the end, in snake_case and camelCase, at every level."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, create_app, queue_plugin, schedule_plugin
from stratix_kombu.config.options import JobOptions
from stratix_kombu.config.settings import load_settings
from stratix_kombu.model.given import snake_everywhere, together
from stratix_kombu.model.record import Retention

FOREVER = datetime(2999, 1, 1, tzinfo=timezone.utc)


def test_keywords_win_over_the_mapping_in_whatever_spelling() -> None:
    mapping = {"removeOnFail": True, "attempts": 3, "remove_on_complete": 1}
    assert together(mapping, {"remove_on_fail": 5, "removeOnComplete": 2}, "here") == {
        "attempts": 3,
        "remove_on_fail": 5,
        "removeOnComplete": 2,
    }
    assert (together(None, {"a": 1}, "here"), together(mapping, {}, "here")) == ({"a": 1}, mapping)
    with pytest.raises(ConfigurationError, match=r"here: options are a mapping or keywords, not a list"):
        together(["a"], {}, "here")  # type: ignore[arg-type]


def test_a_mapping_is_the_last_argument_of_every_call(app: Application) -> None:
    queue = app.queue.create_queue("q", {"concurrency": 3, "defaultJobOptions": {"removeOnFail": True}}, concurrency=2)
    assert (queue.concurrency, queue.new_job("n", None, {}).keep_failed) == (2, Retention(count=0))
    app.start()
    job = queue.add("n", 1, {"attempts": 3, "removeOnComplete": True}, attempts=4)
    assert job.opts["attempts"] == 4
    (bulk,) = queue.add_bulk([{"name": "n", "opts": {"jobId": "mine", "delay": 60_000}}])
    assert bulk.id == "mine"
    flow = app.queue.add_flow({"name": "n", "queueName": "q", "opts": {"dependenciesMode": "optional"}, "children": []})
    assert len(flow) == 1
    queue.set_rate_limit({"max": 5, "duration": 100}, max=6)
    made = queue.add_repeatable_job("r", None, {"every": 3_600_000, "endDate": FOREVER, "removeOnFail": 5}, limit=2)
    assert (made.limit, made.end_date) == (2, FOREVER)
    app.queue.on("mine", lambda value: None)


@pytest.mark.parametrize("back", ["record", "mapping", "options", "keywords", "awaited"])
def test_a_repeatable_job_is_removed_by_what_was_given_back(app: Application, back: str) -> None:
    queue = app.queue.get_queue("q")
    options: dict[str, Any] = {"cron": "0 9 * * 1", "timezone": "Europe/Berlin", "limit": 5, "attempts": 3}
    queue.add_repeatable_job("other", None, {"cron": "0 9 * * 1"})
    queue.add_repeatable_job("n", {"a": 1}, options)
    (record,) = [one for one in queue.get_repeatable_jobs() if one.name == "n"]
    removed = {
        "record": lambda: queue.remove_repeatable_job(record),
        "mapping": lambda: queue.remove_repeatable_job({"name": "n", "cron": "0 9 * * 1", "tz": "Europe/Berlin"}),
        "options": lambda: queue.remove_repeatable_job({"name": "n", **options}),
        "keywords": lambda: queue.remove_repeatable_job({"name": "other"}, name="n"),
        "awaited": lambda: asyncio.run(queue.aio.remove_repeatable_job(record)),
    }[back]()
    assert removed
    assert [one.name for one in queue.get_repeatable_jobs()] == ["other"]
    with pytest.raises(ConfigurationError, match="select it by 'key'"):
        queue.remove_repeatable_job(options)
    with pytest.raises(ConfigurationError, match="unknown option 'crn'"):
        queue.remove_repeatable_job({"name": "n", "crn": "0 9 * * 1"})


def test_schedules_take_a_mapping() -> None:
    app = create_app({"driver": "memory"})
    app.register(schedule_plugin)
    app.schedule.cron("0 0 1 * *", print, {"timezone": "Asia/Shanghai", "limit": 3}, limit=4)
    app.schedule.interval("1 hour", print, {"limit": 24, "startDate": FOREVER})
    app.schedule.register({"cron": "*/5 * * * *", "handler": print, "name": "sync"}, name="other")

    @app.schedule.cron("30 3 * * *", {"timezone": "Europe/Berlin"})
    def nightly() -> None: ...

    cron, interval, registered, decorated = app.schedule.list()
    assert (cron.timezone, cron.limit) == ("Asia/Shanghai", 4)
    assert (interval.limit, interval.next_run) == (24, FOREVER)
    assert (registered.name, decorated.timezone) == ("other", "Europe/Berlin")
    with pytest.raises(ConfigurationError, match="unknown option 'timezon'"):
        app.schedule.cron("0 0 1 * *", print, {"timezon": "UTC"})
    app.close()


def test_plugins_take_a_mapping_with_camel_case_at_every_level() -> None:
    app = create_app()
    app.register(
        queue_plugin,
        {
            "driver": "memory",
            "shutdownTimeout": 3,
            "bullmq": {"stalledCheckInterval": 100, "maxStalledCount": 2},
            "defaultJobOptions": {"removeOnComplete": {"age": timedelta(days=1)}, "backoff": {"type": "fixed"}},
            "processor": {"maxSandboxes": 4, "killBehavior": "graceful"},
            "queues": {"emails": {"maxPayloadBytes": 10, "limiter": {"max": 1, "refillRate": 2, "initialTokens": 1}}},
        },
        shutdown_timeout=5,
    )
    settings = app.queue.settings
    assert (settings.shutdown_timeout, settings.worker.max_stalled_count) == (5, 2)
    assert settings.job_defaults.keep_completed == Retention(age_ms=86_400_000)
    emails = settings.queue_options("emails", {"max_payload_bytes": 20, "processor": {"max_sandboxes": 2}})
    assert (emails.max_payload_bytes, emails.processor.max_sandboxes, emails.processor.graceful) == (20, 2, True)
    assert emails.limiter is not None
    assert emails.limiter.initial == 1
    app.close()


def test_layers_of_settings_agree_on_spellings() -> None:
    layers = [{"defaultJobOptions": {"removeOnFail": 5, "attempts": 2}}, {"default_job_options": {"remove_on_fail": 6}}]
    defaults = load_settings(layers[0], layers[1], environment={}).job_defaults
    assert (defaults.keep_failed, defaults.attempts) == (Retention(count=6), 2)


def test_only_what_is_camel_case_is_changed() -> None:
    given = {"aws": {"accessKeyId": 1, "list": [{"oneTwo": {"threeFour": 2}}]}, "X-Api-Key": 3, "ContentType": 4}
    assert snake_everywhere(given) == {
        "aws": {"access_key_id": 1, "list": [{"one_two": {"three_four": 2}}]},
        "X-Api-Key": 3,
        "ContentType": 4,
    }
    assert snake_everywhere({5: "aB", "some.queueName": 1, "snake_case": 2}) == {
        5: "aB",
        "some.queueName": 1,
        "snake_case": 2,
    }


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (86_400_000, r"'remove_on_complete' is a count: the newest 86,400,000 jobs are kept. For an age of 1 day"),
        (3_600_000, r"write \{'age': 3600000\} \(milliseconds\) or datetime.timedelta\(seconds=3600\)"),
        (7 * 24 * 3600 * 1000, "the newest 604,800,000 jobs"),
        ({"count": 1, "age": 3600}, r"'remove_on_complete'\['age'\] is in milliseconds: jobs are kept for 0:00:03.6"),
        ({"age": 86_400}, "For 1 day, 0:00:00 write 86400000 or datetime.timedelta"),
        (1000, ""),
        (1_000_000, ""),
        (60_000, ""),
        ({"age": 3_600_000}, ""),
        ({"age": 5000}, ""),
        ({"age": timedelta(milliseconds=3600)}, ""),
        ({"count": 500_000}, ""),
        (True, ""),
        (timedelta(days=1), ""),
    ],
)
def test_numbers_that_are_probably_meant_otherwise_are_said_once(
    value: Any, words: str, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    where = request.node.name
    for _ in range(2):
        JobOptions.parse({"removeOnComplete": value}, where)
    said = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(said) == bool(words)
    if words:
        assert said[0].startswith(where)
        assert re.search(words, said[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"runAt": 60_000},
            "'run_at' is an instant: 1970-01-01T00:01:00+00:00, which is past. For a duration use 'delay'",
        ),
        (
            {"runAt": 1_800_000_000},
            "'run_at' is an instant in milliseconds: 1970-01-21T20:00:00+00:00, which is past. "
            "For 2027-01-15T08:00:00+00:00 write 1800000000000",
        ),
        ({"delay": 1_800_000_000_000}, "'delay' is a time from now: 57 years. For an instant use 'run_at'"),
        ({"runAt": 1_800_000_000_000}, ""),
        ({"runAt": datetime(1970, 1, 2, tzinfo=timezone.utc)}, ""),
        ({"delay": 10 * 365 * 86_400_000}, ""),
        ({"delay": timedelta(days=20_000)}, ""),
    ],
)
def test_delays_are_not_taken_for_instants(
    options: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    for more in (0, 1):
        JobOptions.parse(
            {key: value + more if isinstance(value, int) else value for key, value in options.items()},
            request.node.name,
        )
    said = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(said) == bool(words)
    assert words in "".join(said)


def test_retention_says_its_units() -> None:
    options = JobOptions.parse({"removeOnFail": {"age": 5000, "count": 1000}}, "here")
    assert "<Retention: the newest 1,000 jobs, each for 5,000 ms (0:00:05)>" in repr(options)
    assert "keep_completed=<Retention: all jobs>" in repr(options)


@pytest.mark.parametrize("value", [timedelta(days=1), datetime(2030, 1, 1), "2030-01-01", True, float("nan")])
@pytest.mark.parametrize("option", ["startDate", "endDate", "runAt"])
def test_what_is_no_instant_is_refused_wherever_one_is_meant(app: Application, option: str, value: Any) -> None:
    queue = app.queue.get_queue("q")
    calls: list[Any] = [lambda: queue.add("n", None, {"runAt": value})]
    if option != "runAt":
        rule = {"every": 1000, option: value}
        calls = [
            lambda: queue.add_repeatable_job("n", None, rule),
            lambda: queue.upsert_job_scheduler("k", rule),
            lambda: app.schedule.interval("1 s", print, {option: value}),
            lambda: app.schedule.register({"cron": "* * * * *", "handler": print, option: value}),
        ]
    for call in calls:
        with pytest.raises(ConfigurationError, match=r"instant|time zone|aware datetime"):
            call()
    assert (queue.get_repeatable_jobs(), app.schedule.list(), queue.get_jobs()) == ([], [], [])


@pytest.mark.parametrize("rule", [{"every": 1000}, {"cron": "* * * * *"}, {"cron": "0 0 1 1 *"}])
@pytest.mark.parametrize("more", [{}, {"immediately": True}, {"startDate": datetime(2020, 1, 1, tzinfo=timezone.utc)}])
def test_what_has_ended_does_not_stop_a_program(
    app: Application, rule: dict[str, Any], more: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    queue = app.queue.get_queue("q")
    ended = {**rule, **more, "endDate": datetime(2023, 12, 31, tzinfo=timezone.utc)}
    for _ in range(2):
        made = queue.add_repeatable_job("n", None, ended)
        assert (made.next_run, made.runs) == (None, 0)
    assert [one.next_run for one in queue.get_repeatable_jobs()] == [None]
    more = {key: value for key, value in more.items() if key != "immediately"}
    app.schedule.register({**rule, **more, "handler": print, "name": "s", "endDate": ended["endDate"]})
    app.start()
    assert [one.next_run for one in app.schedule.list()] == [None]
    said = [one.getMessage() for one in caplog.records if "has ended and will not run" in one.getMessage()]
    assert len(said) == 3
    assert "add_repeatable_job('n') on queue 'q'" in said[0]
    assert queue.get_jobs() == []
    assert queue.add_repeatable_job("n", None, {**rule, "endDate": FOREVER}).next_run is not None


def test_of_two_names_of_one_option_neither_is_left_out(app: Application) -> None:
    queue = app.queue.get_queue("q")
    steps: list[tuple[str, Callable[[], object]]] = [
        (
            "'timezone' and 'tz'",
            lambda: queue.add_repeatable_job("n", cron="* * * * *", tz="UTC", timezone="Asia/Tokyo"),
        ),
        (
            "'cron' and 'pattern'",
            lambda: queue.upsert_job_scheduler("k", {"cron": "* * * * *", "pattern": "1 * * * *"}, {}),
        ),
        ("'interval' and 'every'", lambda: app.schedule.register({"handler": print, "interval": 5000, "every": 7000})),
        ("'queue' and 'queue_name'", lambda: app.queue.add_flow({"name": "n", "queue": "q", "queue_name": "b"})),
    ]
    for names, step in steps:
        with pytest.raises(ConfigurationError, match=f"{names} are the same option: give one of them"):
            step()
    assert (queue.get_repeatable_jobs(), queue.get_job_counts()["waiting"], app.schedule.list()) == ([], 0, [])
