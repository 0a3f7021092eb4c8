"""Celery's settings with the bridge: each keeps its meaning, or ``check`` names it with the reason why it has none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery, chord
from celery.app.defaults import DEFAULTS

from stratix_kombu.celery import install
from stratix_kombu.celery.review import review
from stratix_kombu.celery.without_effect import WITHOUT_EFFECT, reason_for
from tests.celery.beside import WAIT_S, Beside, Side, beside, outcome
from tests.celery.conftest import lines
from tests.celery.workers import ROOT
from tests.waiting import until

OF_CELERY = (
    "accept_content",
    "beat_*",
    "broker_*",
    "control_*",
    "event_*",
    "imports",
    "include",
    "security_*",
    "worker_*",
)
"""Its worker, its beat and its messages read them, which are as they were."""
READ = {
    "enable_utc": "eta",
    "redis_backend_use_ssl": "the store",
    "result_accept_content": "what may be read",
    "result_backend": "the store, where the broker keeps no jobs",
    "result_expires": "how long jobs are kept",
    "result_extended": "what results tell",
    "result_failure_expires": "how long failed jobs are kept",
    "result_serializer": "values that JSON cannot say, and errors",
    "timezone": "eta",
    "task_*": "Celery makes the message, and its tracer runs the task",
}
ZONE = "Asia/Kolkata"


def test_each_setting_has_a_meaning_or_a_reason() -> None:
    for name in DEFAULTS:
        meaning = [pattern for pattern in (*OF_CELERY, *READ) if fnmatchcase(name, pattern)]
        assert meaning or reason_for(name), name
    for pattern in WITHOUT_EFFECT:
        assert [name for name in DEFAULTS if fnmatchcase(name, pattern)], pattern


def test_the_guide_names_them() -> None:
    page = (ROOT / "examples" / "guide" / "celery.md").read_text(encoding="utf-8")
    assert [name for name in WITHOUT_EFFECT if f"`{name}`" not in page] == []


def test_check_names_what_has_no_effect() -> None:
    app = Celery("proj", broker="memory://", set_as_current=False)
    app.conf.update(result_chord_retry_interval=5, worker_eta_task_limit=10, task_default_queue="q", result_expires=60)
    found = {one.subject: one.bridged for one in review(app)}
    assert "no effect: a chord is a job" in found["result_chord_retry_interval"]
    assert "no effect: " in found["worker_eta_task_limit"]
    assert not {"task_default_queue", "result_expires", "result_chord_join_timeout"} & found.keys()


CONF: dict[str, Any] = {
    "result_extended": True,
    "task_allow_error_cb_on_chord_header": True,
    "task_annotations": {"proj.always": {"max_retries": 1}},
    "task_compression": "gzip",
    "task_default_priority": 3,
    "task_inherit_parent_priority": True,
    "task_remote_tracebacks": False,
    "task_reject_on_worker_lost": True,
    "task_store_errors_even_if_ignored": True,
    "task_track_started": True,
    "timezone": ZONE,
}


def test_check_names_the_same_once_the_bridge_is_installed() -> None:
    """What the bridge sets itself is not the project's."""
    named = []
    for bridged in (False, True):
        app = Celery("checked", broker="redis://localhost", set_as_current=False)
        app.conf.worker_eta_task_limit = 5
        if bridged:
            install(app, namespace="checked")
        app.conf.task_queues  # noqa: B018  # it is configured now
        named.append([one.subject for one in review(app)])
    assert "worker_eta_task_limit" in named[0]
    assert named[0] == named[1]


@pytest.fixture(scope="module")
def pair(redis_url: str) -> Iterator[Beside]:
    with beside(redis_url, redis_url, **CONF) as both:
        yield both


def value(result: Any) -> Any:
    return outcome(lambda: result.get(timeout=WAIT_S))


def test_settings_of_tasks(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        path = tmp_path / f"always-{side.name}"
        heard = [value(side.task("always").delay(str(path))), len(lines(str(path)))]
        about = value(side.task("about").delay("x" * 5000))
        heard.append(about["priority"])
        local = datetime.now(ZoneInfo(ZONE)) + timedelta(seconds=0.2)
        heard.append(value(side.task("same").apply_async(("due",), eta=local)))
        return heard

    assert pair.both(script)[1:4] == [2, 3, "due"]


def test_errbacks_of_headers(pair: Beside, tmp_path: Path) -> None:
    """Each task of the header has them too, if the project says so."""

    def script(side: Side) -> Any:
        path = tmp_path / f"errbacks-{side.name}"
        failing = chord([side.task("boom").si(), side.task("same").si(1)], side.task("same").s())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            failing.link_error(side.task("note").si(str(path), "errback"))
        result = failing.apply_async()
        heard = value(result).partition(" raised")[2]
        until(lambda: path.exists() and len(lines(str(path))) == 2, WAIT_S)
        return heard

    pair.both(script)


def test_errors_of_tasks_whose_results_are_ignored(pair: Beside) -> None:
    def script(side: Side) -> Any:
        result = side.task("boom").apply_async(ignore_result=True)
        until(lambda: side.app.AsyncResult(result.id).state == "FAILURE", WAIT_S)
        return repr(side.app.AsyncResult(result.id).result)

    pair.both(script)
