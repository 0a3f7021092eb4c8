"""The tables of the guide are the reference: they hold all that is there, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, is_typeddict

import pytest

from stratix_kombu import Application, Job, JobFailed, create_app, types
from stratix_kombu.config import options
from stratix_kombu.config.redis_options import RedisOptions
from stratix_kombu.config.settings import Endpoint, Settings
from stratix_kombu.config.tls import TlsOptions
from stratix_kombu.model.event import BUILT_IN
from stratix_kombu.types import JobOpts, ProcessorOpts, QueueOpts
from stratix_kombu.worker.sandbox.protocol import ATTRIBUTES
from tests import reference
from tests.pages import PAGES

FIELDS = {name for name in dir(Job) if isinstance(getattr(Job, name), property) and name[0] != "_"}


def _first_column(title: str) -> list[str]:
    """The names in the first column of the table whose first head begins so."""
    text = "\n".join(PAGES.values())
    (table,) = re.findall(rf"^\| {re.escape(title)} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]


@pytest.mark.parametrize(
    ("title", "there"),
    [
        ("attribute of a job", FIELDS),
        ("job option", options.JOB_OPTIONS),
        ("job option", JobOpts.__optional_keys__),
        ("queue option", QueueOpts.__optional_keys__),
        ("`processor` option", ProcessorOpts.__optional_keys__),
        ("event", BUILT_IN),
    ],
)
def test_the_tables_hold_what_is_there(title: str, there: set[str]) -> None:
    listed = _first_column(title)
    assert sorted(listed) == sorted(there)


def test_the_settings_page_is_what_the_options_say() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run 'python -m tests.reference'"


@pytest.mark.parametrize("section", reference.SECTIONS, ids=lambda section: section.cls)
def test_every_option_is_explained(section: reference.Section) -> None:
    assert [option.name for option in reference.options(section.cls) if not option.text] == []


def test_every_class_of_options_has_its_table() -> None:
    shown = {section.cls for section in reference.SECTIONS}
    for section in reference.SECTIONS:
        shown |= reference.bases(section.cls)
    classes = {name for name, cls in vars(types).items() if is_typeddict(cls) and name.endswith(("Opts", "Settings"))}
    assert classes - shown == set()


DEFAULTS: list[tuple[str, Any]] = [
    ("AppSettings", Settings()),
    ("WorkerOpts", options.WorkerOptions()),
    ("QueueOpts", options.QueueOptions()),
    ("JobOpts", options.JobOptions()),
    ("ProcessorOpts", options.ProcessorOptions()),
    ("RedisOpts", RedisOptions()),
    ("TlsOpts", TlsOptions()),
    ("MetricsOpts", Endpoint(port=0)),
]


@pytest.mark.parametrize(("cls", "values"), DEFAULTS, ids=[name for name, _ in DEFAULTS])
def test_the_defaults_are_true(cls: str, values: Any) -> None:
    compared = 0
    for option in reference.options(cls):
        said = re.search(r"Default: (?!the |no )(\S+?)\.?( |$)", option.text)  # a value, not a description of one
        value = getattr(values, option.name, None)
        if said and (isinstance(value, (bool, int, float)) or (value and isinstance(value, str))):
            if option.name == "max_payload_bytes":
                assert "1 MiB" in option.text
                assert value == 2**20
            else:
                shown = f"{value:g}" if isinstance(value, float) else str(value)
                assert said[1].strip("`").rstrip(";").replace(",", "") == shown, option
            compared += 1
    assert compared


def test_fields_say_what_they_are() -> None:
    assert [name for name in FIELDS if not (getattr(Job, name).__doc__ or "").strip()] == []


def test_a_sandboxed_job_has_the_fields_of_a_job() -> None:
    assert set(ATTRIBUTES) == FIELDS - {"cancelled", "aio"}


@pytest.fixture
def app() -> Iterator[Application]:
    app = create_app({"driver": "memory"})
    yield app
    app.close(5)


def test_fields_before_and_after(app: Application) -> None:
    """What the table says of those that are None, and of instants."""
    queue = app.queue.create_queue("emails")
    queue.process("good", lambda job: job.update_progress({"part": 1}) or 7)
    queue.process("bad", lambda job: 1 / 0)
    good, bad = queue.add("good", {"to": "ada"}), queue.add("bad")
    assert (good.progress, good.return_value, good.processed_on, good.finished_on) == (None, None, None, None)
    assert (good.failed_reason, good.stacktrace) == (None, [])
    app.start()
    assert good.wait_until_finished(30) == 7
    with pytest.raises(JobFailed, match="division by zero"):
        bad.wait_until_finished(30)
    good, bad = queue.get_jobs(["completed", "failed"], 0, 1)
    assert (good.progress, good.return_value, good.failed_reason, good.stacktrace) == ({"part": 1}, 7, None, [])
    assert bad.failed_reason == "ZeroDivisionError: division by zero"
    assert ["ZeroDivisionError" in text for text in bad.stacktrace] == [True]
    assert 0 < good.timestamp <= (good.processed_on or 0) <= (good.finished_on or 0)
