"""The rest of a clock: it does not begin when the clock is to end, and what fails in it does not end the clock."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from stratix_kombu import create_app
from stratix_kombu.stores.contract.clocks import Lead

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
