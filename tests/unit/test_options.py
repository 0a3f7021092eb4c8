"""Options: what is accepted, and what is refused with which words."""

from __future__ import annotations

import math
import string
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, strategies as st

from stratix_kombu.config.options import JobOptions, ProcessorOptions, QueueOptions, WorkerOptions
from stratix_kombu.config.settings import load_settings
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.names import snake
from stratix_kombu.model.record import KEEP_ALL, KEEP_NONE, Retention


def parse(**options: Any) -> JobOptions:
    return JobOptions.parse(options, "here")


def top_level(attempts_made: int) -> float:
    return 5.0 * attempts_made


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"delay": 1500}, "delay_ms", 1500),
        ({"delay": 1.4}, "delay_ms", 1),
        ({"delay": timedelta(seconds=2)}, "delay_ms", 2000),
        ({"run_at": 1000}, "due_ms", 1000),
        ({"run_at": 4_102_444_800_000}, "due_ms", 4_102_444_800_000),
        ({"run_at": datetime(2100, 1, 1, tzinfo=timezone.utc)}, "due_ms", 4_102_444_800_000),
        ({"run_at": datetime.max.replace(tzinfo=timezone.utc)}, "due_ms", 253_402_300_799_999),
        ({"runAt": datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "due_ms", 0),
        ({"priority": 9}, "priority", 9),
        ({"attempts": 3}, "attempts", 3),
        ({"job_id": "a:b/c@d"}, "job_id", "a:b/c@d"),
        ({"jobId": "x"}, "job_id", "x"),
        ({"dependencies": ["a", "b"]}, "dependencies", ("a", "b")),
        ({"dependenciesMode": "optional"}, "optional", True),
        ({"remove_on_complete": True}, "keep_completed", KEEP_NONE),
        ({"removeOnComplete": False}, "keep_completed", KEEP_ALL),
        ({"remove_on_complete": 100}, "keep_completed", Retention(count=100)),
        ({"remove_on_fail": timedelta(hours=1)}, "keep_failed", Retention(age_ms=3_600_000)),
        ({"removeOnFail": {"age": 5000, "count": 3}}, "keep_failed", Retention(3, 5000)),
        ({"delay": None}, "delay_ms", 0),
    ],
)
def test_what_is_accepted(given: dict[str, Any], field: str, value: object) -> None:
    assert getattr(parse(**given), field) == value


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"atempts": 3}, "here: unknown option 'atempts'; did you mean 'attempts'?"),
        ({"remove_on_completed": 3}, "did you mean 'remove_on_complete'?"),
        ({"jobId": "a", "job_id": "b"}, "'job_id' is given twice"),
        ({"delay": -1}, "here: 'delay' must be between 0 and a hundred years"),
        ({"delay": "5"}, "here: 'delay' must be milliseconds or a timedelta, not '5'"),
        ({"delay": math.inf}, "must be milliseconds"),
        ({"delay": True}, "must be milliseconds"),
        ({"delay": timedelta(days=40_000)}, "a hundred years"),
        ({"run_at": datetime(2030, 1, 1)}, "without a time zone"),
        ({"run_at": timedelta(hours=1)}, "'run_at' is an instant, not a duration: use an aware datetime"),
        ({"run_at": 10**15}, "years 1 to 9999"),
        ({"run_at": "tomorrow"}, "must be an aware datetime, or milliseconds since 1970"),
        ({"run_at": True}, "must be an aware datetime"),
        ({"priority": 10}, "'priority' must be a whole number from 0 to 9, not 10"),
        ({"priority": 1.5}, "whole number"),
        ({"attempts": 0}, "'attempts' must be a whole number from 1"),
        ({"attempts": True}, "whole number"),
        ({"job_id": "with space"}, "cannot be a job id"),
        ({"job_id": ""}, "cannot be a job id"),
        ({"job_id": "x" * 201}, "cannot be a job id"),
        ({"job_id": 5}, "cannot be a job id"),
        ({"dependencies": "a"}, "must be a list of jobs or job ids"),
        ({"dependencies": ["a", "b c"]}, "cannot be a job id"),
        ({"dependencies_mode": "maybe"}, "must be 'required' or 'optional'"),
        ({"remove_on_complete": -1}, "whole number"),
        ({"remove_on_complete": {"agee": 1}}, "did you mean 'age'?"),
        ({"backoff": {"type": "exponentail"}}, "did you mean 'exponential'?"),
        ({"backoff": {"delay": -5}}, "between 0"),
        ({"backoff": {"type": "fixed", "delay": 1, "jitter": 2}}, "'jitter' must be from 0 to 1"),
        ({"backoff": {"custom": "x", "delay": 1}}, "'custom' must be the only key"),
        ({"backoff": {"custom": lambda n: n}}, "import by module and name"),
    ],
)
def test_what_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(**given)
    assert words in str(refused.value)


def test_options_go_over_defaults() -> None:
    defaults = parse(attempts=5, backoff=100, priority=3)
    over = JobOptions.parse({"attempts": 1}, "here", defaults)
    assert (over.attempts, over.priority, over.backoff) == (1, 3, defaults.backoff)
    assert JobOptions.parse({}, "here", defaults) is defaults


@pytest.mark.parametrize(
    "backoff",
    [
        0,
        1500,
        timedelta(seconds=1),
        {"type": "exponential", "delay": 10, "jitter": 0.25},
        {"custom": top_level},
        {"custom": "name"},
    ],
)
def test_backoff_is_kept_with_the_job(backoff: Any) -> None:
    options = parse(backoff=backoff)
    assert JobOptions.decode(options.encode()).backoff == options.backoff


def test_a_backoff_is_said_with_its_delay() -> None:
    with pytest.raises(ConfigurationError, match=r"'exponential' with its delay, as {'type': 'exponential'"):
        parse(backoff="exponential")


def test_nothing_is_kept_without_a_backoff() -> None:
    assert parse(attempts=3).encode() == ""
    assert JobOptions.decode("").backoff is None


def test_a_function_is_named_by_its_path() -> None:
    backoff = parse(backoff={"custom": top_level}).backoff
    assert backoff is not None
    assert backoff.custom == f"{__name__}:top_level"


def test_queue_options() -> None:
    given_options = {"concurrency": 5, "defaultJobOptions": {"attempts": 2}, "backoffs": [top_level]}
    options = QueueOptions.parse(given_options, "queue 'q'", parse(priority=4))
    assert (options.concurrency, options.default_job_options.attempts) == (5, 2)
    assert options.default_job_options.priority == 4
    assert options.backoffs == {f"{__name__}:top_level": top_level}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"concurency": 1}, "queue 'q': unknown option 'concurency'; did you mean 'concurrency'?"),
        ({"concurrency": 0}, "queue 'q': 'concurrency' must be a whole number from 1 to 1000, not 0"),
        ({"backoffs": {"x": 1}}, "must be functions"),
        ({"default_job_options": {"delai": 1}}, "did you mean 'delay'?"),
        ({"default_job_options": {"jobId": "x"}}, "queue 'q': 'default_job_options': 'job_id' belongs to one job"),
        ({"default_job_options": {"dependencies": ["x"]}}, "'dependencies' belongs to one job"),
        ({"default_job_options": {"deduplication": {"id": "x"}}}, "'deduplication' belongs to one job"),
        ({"max_payload_bytes": 0}, "whole number"),
    ],
)
def test_queue_options_that_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        QueueOptions.parse(given, "queue 'q'", JobOptions())
    assert words in str(refused.value)


def test_defaults_of_all_queues_name_no_job() -> None:
    source: dict[str, Any] = {"default_job_options": {"job_id": None, "attempts": 2}}
    assert load_settings(source, environment={}).job_defaults == parse(attempts=2)
    for option, value in (("job_id", "x"), ("dependencies", []), ("deduplication", {"id": "x", "ttl": 5})):
        words = f"'default_job_options': '{option}' belongs to one job, and no default"
        with pytest.raises(ConfigurationError, match=words):
            load_settings({"default_job_options": {option: value}}, environment={})
    with pytest.raises(ConfigurationError, match="'job_id' belongs to one job"):
        load_settings({}, environment={"STRATIX_DEFAULT_JOB_OPTIONS__JOB_ID": "x"})
    with pytest.raises(ConfigurationError, match="queue 'q': 'default_job_options': 'job_id' belongs to one job"):
        load_settings({"queues": {"q": {"default_job_options": {"job_id": "x"}}}}, environment={}).queue_options(
            "q", {}
        )


def test_worker_options() -> None:
    options = WorkerOptions.parse({"stalledCheckInterval": timedelta(seconds=1), "clock": False}, "'worker'")
    assert (options.stalled_check_interval, options.clock, options.lease_duration) == (1000, False, 30_000)
    for bad in ({"lease_duration": 1}, {"clock": "yes"}, {"max_stalled_count": -1}, {"leese_duration": 1000}):
        with pytest.raises(ConfigurationError, match="'worker'"):
            WorkerOptions.parse(bad, "'worker'")


@given(st.lists(st.text(string.ascii_lowercase, min_size=2), min_size=1, max_size=4))
def test_camel_case_is_the_same_name(words: list[str]) -> None:
    camel = words[0] + "".join(word.capitalize() for word in words[1:])
    assert snake(camel) == "_".join(words)


def test_processors() -> None:
    given = {
        "sandboxed": True,
        "maxSandboxes": 4,
        "timeout": timedelta(seconds=1),
        "maxMemoryUsage": 512,
        "killBehavior": "graceful",
    }
    parsed = ProcessorOptions(sandboxed=True, max_sandboxes=4, timeout_ms=1000, max_memory_usage=512, graceful=True)
    assert ProcessorOptions.parse(given, "here") == parsed
    assert ProcessorOptions.parse({}, "here") == ProcessorOptions()
    for bad, words in (
        ({"sandbox": True}, "unknown option 'sandbox'; did you mean 'sandboxed'?"),
        ({"sandboxed": 1}, "'sandboxed' must be True or False, not 1"),
        ({"max_sandboxes": 0}, "'max_sandboxes' must be a whole number from 1"),
        ({"max_memory_usage": "512"}, "'max_memory_usage' must be a whole number"),
        ({"timeout": -1}, "'timeout' must be between 0"),
        ({"kill_behavior": "gracefully"}, "'force' or 'graceful', not 'gracefully'; did you mean 'graceful'?"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            ProcessorOptions.parse(bad, "here")
        assert words in str(refused.value)


def test_processors_of_all_queues_of_one_in_the_configuration_and_of_its_creation() -> None:
    source = {"processor": {"sandboxed": True, "timeout": 5}, "queues": {"q": {"processor": {"maxSandboxes": 2}}}}
    settings = load_settings(source, environment={})
    merged = settings.queue_options("q", {"processor": {"timeout": 9, "max_sandboxes": 3}}).processor
    assert merged == ProcessorOptions(sandboxed=True, timeout_ms=9, max_sandboxes=3)
    assert settings.queue_options("q", {}).processor.max_sandboxes == 2
    assert settings.queue_options("other", {"processor": {"sandboxed": False}}).processor.sandboxed is False
    assert settings.queue_options("other", {}).processor == ProcessorOptions(sandboxed=True, timeout_ms=5)
    with pytest.raises(ConfigurationError, match=r"queue 'q': 'processor' must be a mapping, not 5"):
        settings.queue_options("q", {"processor": 5})
    with pytest.raises(ConfigurationError, match="'processor': unknown option 'sandbox'"):
        load_settings({"processor": {"sandbox": True}}, environment={})
