"""The rest of a clock: it does not begin when the clock is to end, what fails in it does not end the clock, and after
one that was too long workers have time to renew their leases."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from stratix_kombu import Application, create_app
from stratix_kombu.stores.contract.clocks import Lead
from tests.waiting import until

WAIT_S = 30


def test_a_clock_that_leads_once_more_while_it_is_stopped_does_not_rest(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(settings)
    clocks = app.queue.store.clocks
    resigned, rests, leads = threading.Event(), [], []
    lead, resign = clocks.lead, clocks.resign

    def lead_late(*arguments: Any, **options: Any) -> Lead:
        resigned.wait(WAIT_S)
        leads.append(lead(*arguments, **options))
        return leads[-1]

    def resign_first(clock: str) -> None:
        resign(clock)
        resigned.set()

    monkeypatch.setattr(clocks, "lead", lead_late)
    monkeypatch.setattr(clocks, "resign", resign_first)
    monkeypatch.setattr(clocks, "rest", lambda *arguments: rests.append(arguments))
    with app:
        app.start()
    assert ([one.leads for one in leads], rests) == ([True], [])


def test_what_fails_in_a_rest_does_not_end_the_clock(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(settings)
    clocks, failed = app.queue.store.clocks, list[Any]()
    rest = clocks.rest

    def fail_once(clock: str, for_ms: int) -> None:
        if not failed:
            failed.append(for_ms)
            raise TypeError("its connection was closed by another thread")
        rest(clock, for_ms)

    monkeypatch.setattr(clocks, "rest", fail_once)
    queue = app.queue.create_queue("q")
    queue.process(lambda job: job.data)
    with app, caplog.at_level(logging.ERROR):
        app.start()
        assert queue.add("n", 1, delay=100).wait_until_finished(WAIT_S) == 1
    assert failed
    assert caplog.text.count("the clock failed") == 1


def recoveries(app: Application, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When they began."""
    began, transitions = list[float](), app.queue.store.transitions
    recover = transitions.recover

    def recover_and_note(*arguments: Any, **options: Any) -> Any:
        began.append(time.monotonic())
        return recover(*arguments, **options)

    monkeypatch.setattr(transitions, "recover", recover_and_note)
    return began


@pytest.mark.parametrize("absent_ms", [0, 1_500])
def test_after_an_absence_workers_have_time_to_renew(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, absent_ms: int
) -> None:
    """A third of a lease: 1 s. The absence ends the second look."""
    app = create_app({**settings, "worker": {"lease_duration": 3_000, "stalled_check_interval": 100}})
    clocks, looks, back = app.queue.store.clocks, list[Lead](), list[float]()
    recovered, lead = recoveries(app, monkeypatch), clocks.lead

    def lead_late(*arguments: Any, **options: Any) -> Lead:
        if len(looks) == 1:
            threading.Event().wait(absent_ms / 1000)
            back.append(time.monotonic())
        looks.append(lead(*arguments, **options))
        return looks[-1]

    monkeypatch.setattr(clocks, "lead", lead_late)
    with app:
        app.start()
        until(lambda: back and recovered[-1] > back[0], WAIT_S)
    following = min(one for one in recovered if one > back[0])
    assert following - back[0] >= (1.0 if absent_ms else 0.0)


def test_where_each_look_is_late_jobs_are_recovered_all_the_same(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that is always busy: each look comes later than a third of a lease."""
    app = create_app({**settings, "worker": {"lease_duration": 600, "stalled_check_interval": 100}})
    recovered, lead = recoveries(app, monkeypatch), app.queue.store.clocks.lead

    def lead_late(*arguments: Any, **options: Any) -> Lead:
        threading.Event().wait(0.3)
        return lead(*arguments, **options)

    monkeypatch.setattr(app.queue.store.clocks, "lead", lead_late)
    with app:
        app.start()
        until(lambda: len(recovered) >= 3, WAIT_S)
