"""The time zone of cron rules that name none."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from stratix_kombu import ConfigurationError, create_app, queue_plugin
from stratix_kombu.config.settings import load_settings
from stratix_kombu.queue import repeatables

AT = "30 9 * * *"


@pytest.fixture
def zone_here(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The machine's clock shows this zone, and the process has not warned yet."""
    monkeypatch.setenv("TZ", request.param)
    monkeypatch.setattr(repeatables, "_utc_was_logged", False)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_the_applications_zone_is_that_of_repeatables_and_schedules(settings: dict[str, Any]) -> None:
    here = ZoneInfo("America/New_York")
    with create_app({**settings, "timezone": "America/New_York"}) as app:
        queue = app.queue.get_queue("q")
        queue.add_repeatable_job("own", cron=AT, timezone="Asia/Tokyo")
        queue.add_repeatable_job("unsaid", cron=AT)
        queue.add_repeatable_job("often", every=60_000)
        queue.upsert_job_scheduler("again", {"pattern": AT})
        zones = {one.name: one.timezone for one in queue.get_repeatable_jobs()}
        assert zones == {"own": "Asia/Tokyo", "unsaid": "America/New_York", "often": None, "again": "America/New_York"}
        app.schedule.cron(AT, print, name="unsaid")
        app.schedule.cron(AT, print, name="own", timezone="Asia/Tokyo")
        shown = {one.name: one for one in app.schedule.list()}
        assert (shown["unsaid"].timezone, shown["own"].timezone) == ("America/New_York", "Asia/Tokyo")
        (unsaid,) = (one.next_run for one in queue.get_repeatable_jobs() if one.name == "unsaid")
        for at in (unsaid, shown["unsaid"].next_run):
            assert at is not None
            assert (at.astimezone(here).hour, at.astimezone(here).minute) == (9, 30)
        assert queue.remove_repeatable_job(name="unsaid", cron=AT)
        assert not queue.remove_repeatable_job(name="own", cron=AT)
        app.start()
        app.schedule.cron(AT, print, name="later")
        assert app.schedule.list()[-1].timezone == "America/New_York"


def test_schedules_do_not_read_the_settings_before_the_plugin_is_registered() -> None:
    app = create_app()
    app.schedule.cron(AT, print)
    app.register(queue_plugin, driver="memory", timezone="Europe/Berlin")
    assert [one.timezone for one in app.schedule.list()] == ["Europe/Berlin"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("Europe/Belrin", "unknown timezone 'Europe/Belrin'; did you mean 'Europe/Berlin'?"),
        ("nowhere at all", "unknown timezone 'nowhere at all': write it like"),
        (5, "unknown timezone 5"),
        (b"UTC", "unknown timezone"),
        ("", "unknown timezone ''"),
    ],
)
def test_a_zone_that_is_none(given: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({"driver": "memory", "timezone": given}, environment={})
    assert words in str(refused.value)


def test_a_rule_names_the_nearest_too() -> None:
    with create_app({"driver": "memory"}) as app, pytest.raises(ConfigurationError, match="mean 'Asia/Shanghai'"):
        app.queue.get_queue("q").add_repeatable_job("n", cron=AT, timezone="Asia/Shangai")


def test_from_the_environment() -> None:
    settings = load_settings(None, {}, {"STRATIX_TIMEZONE": "Asia/Tokyo"})
    assert (settings.timezone, settings.origin["timezone"]) == ("Asia/Tokyo", "environment")


@pytest.mark.parametrize("zone_here", ["Europe/Berlin", "Europe/London", "Asia/Kolkata"], indirect=True)
@pytest.mark.parametrize("kind", ["repeatable", "schedule"])
def test_utc_is_logged_once_where_clocks_show_another_zone(
    zone_here: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with create_app({"driver": "memory", "namespace": f"zone-{kind}"}) as app:
        queue = app.queue.get_queue("q")
        queue.add_repeatable_job("often", every=60_000)
        queue.add_repeatable_job("own", cron=AT, timezone="UTC")
        assert "timezone" not in caplog.text
        for number in range(2):
            if kind == "repeatable":
                queue.add_repeatable_job(f"n{number}", cron=AT)
            else:
                app.schedule.cron(AT, print)
        app.start()
        kept = [one for one in queue.get_repeatable_jobs() if one.cron]
        zones = [*(repeatable.timezone for repeatable in kept), *(entry.timezone for entry in app.schedule.list())]
        assert set(zones) == {"UTC"}
        for one in kept:
            assert one.next_run is not None
            assert one.next_run.astimezone(timezone.utc).hour == 9
        queue.obliterate(force=True)
    assert caplog.text.count("cron rules without a timezone are in UTC") == 1
    assert "timezone='Europe/Berlin'" in caplog.text


@pytest.mark.parametrize(
    ("zone_here", "given"),
    [
        ("UTC", {}),
        ("Etc/GMT", {}),
        ("Europe/Berlin", {"timezone": "UTC"}),
        ("Europe/Berlin", {"timezone": "Asia/Tokyo"}),
    ],
    indirect=["zone_here"],
)
def test_nothing_is_logged_where_it_is_no_surprise(
    zone_here: str, given: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), create_app({"driver": "memory", **given}) as app:
        queue = app.queue.get_queue("q")
        queue.add_repeatable_job("n", cron=AT)
        app.schedule.cron(AT, print)
        app.start()
        queue.obliterate(force=True)
    assert "without a timezone" not in caplog.text


def test_a_program_in_another_zone_reads_of_it_on_stderr() -> None:
    code = (
        "import stratix_kombu\napp = stratix_kombu.create_app()\nqueue = app.queue.get_queue('q')\n"
        f"for name in 'ab':\n    queue.add_repeatable_job(name, cron='{AT}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TZ": "Europe/Berlin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.count("are in UTC, and the clock of this machine shows CET/CEST") == 1
    assert len(done.stderr.splitlines()) == 1
