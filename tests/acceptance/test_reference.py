"""The tables of the guide are the reference: they hold all that is there, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from stratix_kombu import Application, Job, JobFailed, create_app
from stratix_kombu.config import options
from stratix_kombu.model.event import BUILT_IN
from stratix_kombu.types import JobOpts, ProcessorOpts, QueueOpts
from stratix_kombu.worker.sandbox.protocol import ATTRIBUTES
from tests.pages import PAGES

FIELDS = {name for name, value in vars(Job).items() if isinstance(value, property) and name[0] != "_"}


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


def test_fields_say_what_they_are() -> None:
    assert [name for name in FIELDS if not (vars(Job)[name].__doc__ or "").strip()] == []


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
