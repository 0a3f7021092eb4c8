"""The options that a type checker knows are those that are accepted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest

from stratix_kombu import schedule, types
from stratix_kombu.application import HOOKS
from stratix_kombu.config import environment, options, settings
from stratix_kombu.config.redis_options import RedisOptions
from stratix_kombu.config.tls import TlsOptions
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.drivers.rabbitmq import RabbitMQDriver
from stratix_kombu.drivers.registry import known_drivers
from stratix_kombu.drivers.sqs.options import OPTIONS as SQS_OPTIONS
from stratix_kombu.health import SCOPES
from stratix_kombu.model import flow_plan
from stratix_kombu.model.event import BUILT_IN
from stratix_kombu.model.finding import FIND_OPTIONS
from stratix_kombu.model.state import State
from stratix_kombu.queue import repeatables
from stratix_kombu.queue.housekeeping import _CLEANED
from stratix_kombu.stores.postgres.options import KNOWN as POSTGRES_OPTIONS
from stratix_kombu.stores.sqlite.options import KNOWN as SQLITE_OPTIONS


def _names(cls: Any) -> set[str]:
    return {one.name for one in fields(cls)}


def camel(name: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)


_RUN = options.JOB_OPTIONS - set(repeatables._NOT_REPEATED)
_RULE = repeatables.REPEAT_OPTIONS - {"key"}

ACCEPTED: dict[type, Iterable[str]] = {
    types.JobOpts: options.JOB_OPTIONS,
    types.NodeOpts: options.JOB_OPTIONS - {"dependencies"},
    types.RunOpts: _RUN,
    types.FindOpts: FIND_OPTIONS,
    types.RetentionOpts: ("age", "count"),
    types.BackoffOpts: ("type", "delay", "jitter", "custom"),
    types.DeduplicationOpts: ("id", "ttl", "replace", "extend"),
    types.LimiterOpts: options.LIMITER_OPTIONS,
    types.ProcessorOpts: options.PROCESSOR_OPTIONS,
    types.QueueOpts: _names(options.QueueOptions),
    types.WorkerOpts: _names(options.WorkerOptions),
    types.MetricsOpts: _names(settings.Endpoint),
    types.BulkJob: ("name", "data", "opts"),
    types.TreeNode: (*flow_plan._NODE, "children"),
    types.GraphNode: (*flow_plan._NODE, "key", "dependencies"),
    types.RepeatOpts: repeatables.REPEAT_OPTIONS | _RUN,
    types.SchedulerRule: _RULE | {"pattern"},
    types.RepeatTemplate: ("name", "data", "opts"),
    types.RepeatSelection: repeatables.REPEAT_OPTIONS | {"name"},
    types.ScheduleOpts: schedule._OPTIONS,
    types.TimerOpts: set(schedule._OPTIONS) - {"cron", "interval", "every", "handler"},
    types.TlsOpts: _names(TlsOptions),
    types.RedisOpts: _names(RedisOptions) | {"url", "options"},
    types.RedisDriverOpts: _names(RedisOptions) | {"url", "options", "queue_name_prefix"},
    types.RabbitMQOpts: RabbitMQDriver.known_options,
    types.SqliteOpts: ("url", *SQLITE_OPTIONS),
    types.PostgresOpts: ("url", *POSTGRES_OPTIONS),
    types.SqsOpts: SQS_OPTIONS,
    types.KombuOpts: KombuDriver.known_options,
    types.AppSettings: {*settings._TOP, *known_drivers()},
}
"""Per class, the table that is used when the program runs."""
NAMES: dict[Any, Iterable[str]] = {
    types.EventName: BUILT_IN,
    types.JobState: [one.value for one in State],
    types.ListedState: [*(one.value for one in State), "paused"],
    types.CleanedState: _CLEANED,
    types.HookName: [*HOOKS, *(camel(one) for one in HOOKS)],
    types.HealthScope: SCOPES,
}


@pytest.mark.parametrize("cls", ACCEPTED, ids=lambda cls: cls.__name__)
def test_options(cls: Any) -> None:
    assert sorted(cls.__required_keys__ | cls.__optional_keys__) == sorted(ACCEPTED[cls])


@pytest.mark.parametrize("names", NAMES, ids=lambda names: str(names)[:40])
def test_names(names: Any) -> None:
    said = [inner for one in get_args(names) for inner in get_args(one) or (one,)]
    assert sorted(said) == sorted(NAMES[names])


def test_sections_of_the_environment() -> None:
    """``STRATIX_WORKER_...`` and its like."""
    hints = get_type_hints(types.AppSettings)
    for section, known in environment._SECTIONS.items():
        cls = types.QueueOpts if section == "queues" else hints[section]
        assert sorted(known) == sorted(ACCEPTED[cls])


@pytest.mark.parametrize("cls", ACCEPTED, ids=lambda cls: cls.__name__)
def test_their_annotations_can_be_read_at_run_time(cls: Any) -> None:
    """As libraries do that make forms or schemas of them."""
    assert get_type_hints(cls).keys() == cls.__required_keys__ | cls.__optional_keys__
