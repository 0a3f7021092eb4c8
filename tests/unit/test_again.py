"""Outcomes that the store names as stale when a worker asks again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stratix_kombu import Application, create_app
from stratix_kombu.lifecycle.again import refused
from stratix_kombu.model.record import ANY_CLAIM, KEEP_NONE, Completion, NewJob


@pytest.fixture
def app() -> Iterator[Application]:
    app = create_app({"driver": "memory"})
    app.queue.engine.store.transitions.add(
        [NewJob(id="there", queue="q", name="n"), NewJob(id="retired", queue="q", name="n", keep_completed=KEEP_NONE)]
    )
    app.queue.engine.store.transitions.complete([Completion("retired", ANY_CLAIM, "1")])
    yield app
    app.close()


def test_the_first_time_all_of_them_are_refused(app: Application) -> None:
    assert refused(app.queue.engine, ("there", "retired", "gone"), False) == ["there", "retired", "gone"]


def test_of_one_that_has_gone_nobody_knows_who_ended_it(app: Application) -> None:
    """Of one that retention has removed a moment ago it is known: by another attempt."""
    assert refused(app.queue.engine, ("there", "retired", "gone"), True) == ["there", "retired"]
