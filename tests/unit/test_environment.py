"""Settings that the environment says, and variables in it that are others'."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import ConfigurationError, create_app
from stratix_kombu.config.settings import Settings, load_settings
from stratix_kombu.drivers.rabbitmq import RabbitMQDriver
from stratix_kombu.drivers.registry import create_driver

DRIVERS = ("memory", "redis", "sqs", "rabbitmq", "bullmq", "kombu")
SQS = {"driver": "sqs", "store": "memory://"}


def load(environment: dict[str, str], source: Any = None, **arguments: Any) -> Settings:
    return load_settings(source, arguments, environment, DRIVERS)


def in_file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "stratix.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_all_that_a_file_may_say() -> None:
    settings = load(
        {
            "STRATIX_DRIVER": "sqs",
            "STRATIX_STORE": "memory://",
            "STRATIX_NAMESPACE": "123",
            "STRATIX_SHUTDOWN_TIMEOUT": "5",
            "STRATIX_SQS_AWS__REGION": "eu-west-1",
            "STRATIX_WORKER_LEASE_DURATION": "10_000",
            "STRATIX_WORKER_CLOCK": "false",
            "STRATIX_METRICS_PORT": "9100",
            "STRATIX_METRICS_HOST": "127.0.0.1",
            "STRATIX_DEFAULT_JOB_OPTIONS_ATTEMPTS": "4",
            "STRATIX_DEFAULT_JOB_OPTIONS_BACKOFF__DELAY": "7",
            "STRATIX_LIMITER_MAX": "3",
            "STRATIX_LIMITER_DURATION": "1000",
            "STRATIX_PROCESSOR_SANDBOXED": "true",
            "STRATIX_QUEUES_EMAILS__CONCURRENCY": "8",
            "STRATIX_QUEUES_EMAILS__DEFAULT_JOB_OPTIONS__ATTEMPTS": "2",
            "STRATIX_QUEUES": '{"e-mails" = {global_concurrency = 5}}',
        }
    )
    assert (settings.driver, settings.namespace, settings.shutdown_timeout) == ("sqs", "123", 5.0)
    assert settings.driver_options == {"aws": {"region": "eu-west-1"}}
    assert (settings.worker.lease_duration, settings.worker.clock) == (10_000, False)
    assert settings.metrics is not None
    assert (settings.metrics.port, settings.metrics.host) == (9100, "127.0.0.1")
    assert settings.job_defaults.attempts == 4
    assert settings.job_defaults.backoff is not None
    assert settings.job_defaults.backoff.delay_ms == 7
    emails = settings.queue_options("emails", {})
    assert (emails.concurrency, emails.default_job_options.attempts, emails.processor.sandboxed) == (8, 2, True)
    assert emails.limiter is not None
    assert emails.limiter.max == 3
    assert settings.queue_options("e-mails", {}).global_concurrency == 5


def test_one_rule_for_nesting() -> None:
    """A double underscore at every level; after a section one is enough."""
    for variable in ("STRATIX_SQS_AWS__REGION", "STRATIX_SQS__AWS__REGION"):
        assert load({variable: "x"}, SQS).driver_options == {"aws": {"region": "x"}}
    for variable in ("STRATIX_WORKER_CLOCK", "STRATIX_WORKER__CLOCK"):
        assert load({variable: "false"}).worker.clock is False
    assert load({"STRATIX_BULLMQ_MAX_STALLED_COUNT": "2"}).worker.max_stalled_count == 2


def test_options_of_drivers_are_text_unless_lists_or_tables() -> None:
    settings = load(
        {
            "STRATIX_REDIS_PASSWORD": "0123",
            "STRATIX_REDIS_USERNAME": "true",
            "STRATIX_REDIS_NAME": "[no list",
            "STRATIX_REDIS_SENTINELS": '[{host = "a", port = 1}]',
        }
    )
    assert settings.driver_options == {
        "password": "0123",
        "username": "true",
        "name": "[no list",
        "sentinels": [{"host": "a", "port": 1}],
    }
    given = {"STRATIX_KOMBU_URL": "x://", "STRATIX_KOMBU_TRANSPORT_OPTIONS__POLLING_INTERVAL": "0.1"}
    assert load(given, {"store": "memory://"}).driver_options == {
        "url": "x://",
        "transport_options": {"polling_interval": 0.1},
    }


@pytest.mark.parametrize(("text", "quorum"), [("true", True), ("false", False), ("1", True), ("0", False)])
def test_switches_of_rabbitmq_are_read_from_text(text: str, quorum: bool) -> None:
    options = load({"STRATIX_RABBITMQ_QUORUM": text}, {"driver": "rabbitmq", "store": "memory://"}).driver_options
    driver = create_driver("rabbitmq", options, namespace="n")
    assert isinstance(driver, RabbitMQDriver)
    assert driver.quorum is quorum
    with pytest.raises(ConfigurationError, match="'quorum' must be true or false"):
        create_driver("rabbitmq", {"quorum": "perhaps"}, namespace="n")


def test_a_single_option_leaves_its_neighbours_in_the_file(tmp_path: Path) -> None:
    file = in_file(
        tmp_path,
        """
        driver = "sqs"
        store = "memory://"
        [sqs.aws]
        region = "us-east-1"
        credentials = {access_key_id = "id", secret_access_key = "secret"}
        [worker]
        leaseDuration = 1000
        stalledCheckInterval = 2000
        [queues.emails]
        globalConcurrency = 2
        default_job_options = {attempts = 5, backoff = {type = "exponential", delay = 1}}
    """,
    )
    settings = load(
        {
            "STRATIX_SQS_AWS__REGION": "eu-west-1",
            "STRATIX_WORKER_LEASE_DURATION": "3000",
            "STRATIX_QUEUES_EMAILS__GLOBAL_CONCURRENCY": "3",
            "STRATIX_QUEUES_EMAILS__DEFAULT_JOB_OPTIONS__BACKOFF__DELAY": "9",
        },
        file,
    )
    credentials = {"access_key_id": "id", "secret_access_key": "secret"}
    assert settings.driver_options["aws"] == {"region": "eu-west-1", "credentials": credentials}
    assert (settings.worker.lease_duration, settings.worker.stalled_check_interval) == (3000, 2000)
    emails = settings.queue_options("emails", {})
    assert emails.global_concurrency == 3
    defaults = emails.default_job_options
    assert defaults.backoff is not None
    assert (defaults.attempts, defaults.backoff.type, defaults.backoff.delay_ms) == (5, "exponential", 9)


def test_who_wins(tmp_path: Path) -> None:
    """Arguments over a mapping over the environment over a file."""
    file = in_file(tmp_path, 'driver = "redis"\nnamespace = "file"\nshutdown_timeout = 1\n[redis]\nhost = "file"\n')
    outer = {"STRATIX_NAMESPACE": "outer", "STRATIX_SHUTDOWN_TIMEOUT": "2", "STRATIX_REDIS_HOST": "outer"}
    settings = load(outer, file)
    assert (settings.namespace, settings.shutdown_timeout, settings.driver_options) == ("outer", 2.0, {"host": "outer"})
    settings = load(outer, {"driver": "redis", "namespace": "code", "redis": {"host": "code"}}, shutdown_timeout=3)
    assert (settings.namespace, settings.shutdown_timeout, settings.driver_options) == ("code", 3.0, {"host": "code"})
    assert load(outer, {"driver": "redis"}, namespace="argument").namespace == "argument"
    assert settings.origin["namespace"] == "argument"


def test_code_that_says_memory_stays_in_memory() -> None:
    outer = {
        "STRATIX_DRIVER": "redis",
        "STRATIX_REDIS_URL": "redis://production",
        "STRATIX_STORE": "redis://production",
    }
    for settings in (
        load(outer, {"driver": "memory"}),
        load(outer, driver="memory"),
        load(outer, {"driver": "memory://"}),
    ):
        assert settings.driver.startswith("memory")
        assert (settings.store, settings.driver_options) == ("memory://", {})
    assert load(outer, {"driver": "sqs"}).store == "redis://production"
    assert load(outer, {"driver": "memory", "store": "redis://test"}).store == "redis://test"
    assert load({"STRATIX_DRIVER": "memory", "STRATIX_STORE": "redis://x"}).store == "redis://x"


SERVICES = {
    f"STRATIX{name}_{variable}": value
    for name in ("", "_DASHBOARD", "_REDIS", "_METRICS", "_WORKER", "_STORE", "_QUEUES_EMAILS")
    for variable, value in {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "80",
        "SERVICE_PORT_HTTP": "80",
        "PORT": "tcp://10.0.0.1:80",
        "PORT_80_TCP": "tcp://10.0.0.1:80",
        "PORT_80_TCP_PROTO": "tcp",
        "PORT_80_TCP_PORT": "80",
        "PORT_80_TCP_ADDR": "10.0.0.1",
        "PORT_53_UDP": "udp://10.0.0.1:53",
    }.items()
}


def test_variables_of_kubernetes_are_ignored_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "stratix_kombu"):
        settings = load(SERVICES)
    assert (settings.given, settings.driver, settings.metrics) == ({}, "memory", None)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("STRATIX_DRIVR", "STRATIX_DRIVER"),
        ("STRATIX_NAMESPCE", "STRATIX_NAMESPACE"),
        ("STRATIX_CONFG", "STRATIX_CONFIG"),
        ("STRATIX_METRIC_PORT", "STRATIX_METRICS_PORT"),
        ("STRATIX_WORKER_LEASE_DURATON", "STRATIX_WORKER_LEASE_DURATION"),
        ("STRATIX_RDIS_URL", "STRATIX_REDIS_URL"),
        ("STRATIX_REDIS", "STRATIX_REDIS_URL"),
    ],
)
def test_a_misspelt_setting_is_warned_of(variable: str, meant: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "stratix_kombu"):
        assert load({variable: "x"}).given == {}
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("WARNING", f"the environment variable {variable} is not a setting and is ignored; did you mean {meant}?")
    ]


@pytest.mark.parametrize(
    "variable",
    [
        "STRATIX_GRAFANA_TOKEN",
        "STRATIX_WORKER_IMAGE_TAG",
        "STRATIX_WORKER",
        "STRATIX_QUEUES_EMAILS",
        "STRATIX_",
        "STRATIX__",
        "STRATIX_SQS_AWS__",
        "STRATIX_QUEUES_EMAILS__COLOUR_OF_THE_DAY",
        "STRATIX_\ud800",
    ],
)
def test_variables_of_others_stop_no_start(variable: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "stratix_kombu"):
        assert load({variable: "x"}).given == {}
    assert [one.levelname for one in caplog.records] == ["INFO"]
    assert caplog.text.encode(), "a name that is no text is escaped"


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("QUEUES", "{q = {concurrency = 3}", "STRATIX_QUEUES='{emails = {concurrency = 3}}'"),
        ("QUEUES", "{q = {concurrency: 3}}", "Expected '=' after a key"),
        ("QUEUES", '{"q": {"concurrency": 3}}', "or one option, such as STRATIX_QUEUES_EMAILS__CONCURRENCY"),
        ("QUEUES", "q = {concurrency = 3}}", "with '=' after each name"),
        ("QUEUES", '["q"]', "it is a list"),
        ("QUEUES_REPORTS", "{concurrency = 3}", "STRATIX_QUEUES='{reports = {concurrency = 3}}'"),
        ("QUEUES_REPORTS", "{concurrency: 3}", "or one option, such as STRATIX_QUEUES_REPORTS__CONCURRENCY"),
        ("QUEUES_Q__DEFAULT_JOB_OPTIONS", "{attempts: 3}", "Expected '=' after a key"),
        ("WORKER", "{clock = false", "STRATIX_WORKER='{lease_duration = 30000}'"),
        ("WORKER", "clock = false", "or one option, such as STRATIX_WORKER_LEASE_DURATION"),
        ("DEFAULT_JOB_OPTIONS", "{attempts: 3}", "(at character 10)"),
        ("DEFAULT_JOB_OPTIONS", "attempts=3", "STRATIX_DEFAULT_JOB_OPTIONS='{attempts = 3}'"),
        ("DEFAULT_JOB_OPTIONS_BACKOFF", "{delay: 3}", "STRATIX_DEFAULT_JOB_OPTIONS_BACKOFF='{name = value}'"),
        ("METRICS", "{port = x}", "STRATIX_METRICS_PORT"),
        ("REDIS", '{host = "h", password = geheim}', "STRATIX_REDIS_URL"),
        ("REDIS", '{password = "geheim", "geheim"', "STRATIX_REDIS='{url = \"...\"}'"),
        ("REDIS", "redis://:geheim@h?db=6", "STRATIX_REDIS_URL"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_error(variable: str, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load({f"STRATIX_{variable}": text})
    said = str(raised.value)
    assert said.startswith(f"the environment variable STRATIX_{variable} is no table of TOML: ")
    assert words in said
    assert "geheim" not in said


@pytest.mark.parametrize("aws", ['{credentials: "geheim"}', {"credentials": '{secret_access_key: "geheim"}'}])
def test_a_table_of_credentials_that_cannot_be_read_is_not_shown(aws: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a mapping, not a str") as raised:
        create_driver("sqs", {"aws": aws}, namespace="n")
    assert "geheim" not in str(raised.value)


def test_what_is_below_a_text_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    settings = load({"STRATIX_SQS_AWS": "x", "STRATIX_SQS_AWS__REGION": "y"}, SQS)
    assert settings.driver_options == {"aws": "x"}
    assert "STRATIX_SQS_AWS__REGION is ignored" in caplog.text


def test_a_value_that_cannot_be_used_is_refused() -> None:
    """It is a setting of ours, so nothing else was meant."""
    for environment in ({"STRATIX_METRICS_PORT": "http"}, {"STRATIX_WORKER_CLOCK": "perhaps"}, {"STRATIX_DRIVER": "x"}):
        with pytest.raises(ConfigurationError):
            load(environment)


@pytest.fixture
def _exported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DRIVER": "redis",
        "REDIS_URL": "redis://production.invalid:1/0",
        "STORE": "redis://production.invalid:1/0",
        "NAMESPACE": "production",
        "SHUTDOWN_TIMEOUT": "1",
        "CONFIG": "nowhere.toml",
    }.items():
        monkeypatch.setenv(f"STRATIX_{name}", value)


@pytest.mark.usefixtures("_exported")
def test_the_fixtures_ignore_the_environment(request: pytest.FixtureRequest) -> None:
    app = request.getfixturevalue("stratix_app")
    assert app.queue.describe().startswith("memory (store memory://")
    assert app.queue.settings.namespace.startswith("test-")
    assert app.queue.settings.shutdown_timeout == 30.0
    request.getfixturevalue("stratix_queue").add("n")


@pytest.mark.usefixtures("_exported")
def test_an_application_of_code_ignores_what_the_environment_says_otherwise() -> None:
    app = create_app({"driver": "memory", "namespace": "mine"})
    assert app.queue.describe().startswith("memory (store memory://")
    assert (app.queue.settings.namespace, app.queue.settings.shutdown_timeout) == ("mine", 1.0)
    app.close()
