"""Results in the configured result backend: those from before the bridge, and with ``results="also"`` those since."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, states
from celery.beat import PersistentScheduler, Scheduler

from stratix_kombu.celery import install
from stratix_kombu.celery.beat import StratixScheduler

WAIT_S = 10


@contextmanager
def before_and_after(broker: str, backend: str, **options: Any) -> Iterator[list[Celery]]:
    """The same project without the bridge, and with it. Nothing waits for news of the first one's results."""
    name = f"older{uuid.uuid4().hex[:10]}"
    before, after = apps = [Celery("older", broker=broker, backend=backend, set_as_current=False) for _ in range(2)]
    for app in apps:
        app.conf.task_default_queue = name
    before.backend.remove_pending_result = lambda result: result
    after.stratix = install(after, store=broker, namespace=name, **options)
    try:
        yield apps
    finally:
        after.stratix.close()
        for app in apps:
            app.close()


@pytest.fixture(params=["redis", "files"])
def backend(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> str:
    return redis_url if request.param == "redis" else f"file://{tmp_path}"


def test_results_from_before_the_bridge_are_found(redis_url: str, backend: str) -> None:
    """By every way of reading: a page that shows a result of yesterday goes on showing it."""
    with before_and_after(redis_url, backend) as (before, after):
        good, bad, unknown = (str(uuid.uuid4()) for _ in range(3))
        before.backend.store_result(good, {"price": 3}, states.SUCCESS)
        before.backend.store_result(bad, KeyError("tea"), states.FAILURE, traceback="Traceback: tea")
        before.GroupResult(f"all-{good}", [before.AsyncResult(good), before.AsyncResult(bad)]).save()
        for app in (before, after):
            results = [app.AsyncResult(one) for one in (good, bad, unknown)]
            assert [one.state for one in results] == ["SUCCESS", "FAILURE", "PENDING"]
            assert results[0].get(timeout=WAIT_S) == {"price": 3}
            assert (repr(results[1].result), results[1].traceback) == ("KeyError('tea')", "Traceback: tea")
            with pytest.raises(KeyError):
                app.AsyncResult(bad).get(timeout=WAIT_S)
            group = app.GroupResult.restore(f"all-{good}")
            assert [one.id for one in group] == [good, bad]
            assert (group.completed_count(), group.failed()) == (1, True)
            assert app.GroupResult.restore(unknown) is None
        read = dict(after.GroupResult.restore(f"all-{good}").iter_native(timeout=WAIT_S))
        assert sorted(one["status"] for one in read.values()) == ["FAILURE", "SUCCESS"]
        group = after.GroupResult.restore(f"all-{good}")
        assert group.join_native(timeout=WAIT_S, propagate=False)[0] == {"price": 3}
        after.AsyncResult(good).forget()
        group.delete()
        assert [app.AsyncResult(good).state for app in (before, after)] == ["PENDING", "PENDING"]
        assert [app.GroupResult.restore(group.id) for app in (before, after)] == [None, None]


def test_what_is_known_to_the_store_is_read_there(redis_url: str, backend: str) -> None:
    with before_and_after(redis_url, backend) as (before, after):
        sent = after.send_task("any.task")
        before.backend.store_result(sent.id, "older", states.SUCCESS)
        assert sent.state == "PENDING"


def test_what_the_store_is_just_being_told_is_read_where_it_was(
    redis_url: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result is stored by hand in two steps: whoever looks between them sees what was there before."""
    with before_and_after(redis_url, backend) as (before, after):
        one, transitions, seen = str(uuid.uuid4()), after.backend.bridge.engine.store.transitions, list[str]()
        before.backend.store_result(one, {"price": 3}, states.SUCCESS)
        end = transitions.fail

        def looked_at(*args: Any, **more: Any) -> Any:
            seen.append(after.AsyncResult(one).state)
            return end(*args, **more)

        monkeypatch.setattr(transitions, "fail", looked_at)
        after.backend.store_result(one, KeyError("tea"), states.FAILURE)
        assert (seen, after.AsyncResult(one).state) == (["SUCCESS"], "FAILURE")


def test_saved_groups_are_mirrored(redis_url: str, backend: str) -> None:
    with before_and_after(redis_url, backend, results="also") as (before, after):
        group = after.GroupResult(str(uuid.uuid4()), [after.AsyncResult("one")])
        group.save()
        assert before.GroupResult.restore(group.id).results == [before.AsyncResult("one")]
        group.delete()
        assert [app.GroupResult.restore(group.id) for app in (before, after)] == [None, None]


def test_results_that_another_process_alone_may_read(redis_url: str) -> None:
    """``rpc://`` sends each to whoever has sent the task."""
    with before_and_after(redis_url, "rpc://") as (_, after):
        result = after.AsyncResult("unknown")
        result.forget()
        assert (result.state, after.GroupResult.restore("unknown")) == ("PENDING", None)


def test_the_configured_backend_is_cleaned_up(redis_url: str, tmp_path: Path) -> None:
    """Each day, if it does not do so itself: what was stored before the bridge, or with ``results="also"``, expires."""

    def daily(app: Celery) -> list[bool]:
        """Of both kinds of beat, as far as the application has them."""
        schedulers: list[Scheduler] = [PersistentScheduler(app, schedule_filename=str(tmp_path / app.main))]
        if hasattr(app, "stratix"):
            schedulers.append(StratixScheduler(app))
        found = ["celery.backend_cleanup" in one.schedule for one in schedulers]
        for one in schedulers:
            one.close()
        return found

    results = tmp_path / "results"
    results.mkdir()
    with before_and_after(redis_url, f"file://{results}") as (before, after):
        assert [daily(before), daily(after)] == [[True], [True, True]]
        before.backend.store_result("one", 1, states.SUCCESS)
        assert after.AsyncResult("one").state == "SUCCESS"
        (stored,) = results.iterdir()
        os.utime(stored, (0, 0))
        after.tasks["celery.backend_cleanup"]()
        assert [app.AsyncResult("one").state for app in (before, after)] == ["PENDING", "PENDING"]
    with before_and_after(redis_url, redis_url) as (before, after):
        assert [daily(before), daily(after)] == [[False], [False, False]]


def test_the_rest_of_the_configured_backend_is_at_hand(redis_url: str, tmp_path: Path) -> None:
    """Projects keep locks and counters of their own with its client, and ask after its health."""
    with before_and_after(redis_url, redis_url) as (before, after):
        name = f"own-{after.conf.task_default_queue}"
        for app in (before, after):
            assert app.backend.client.incr(name) == (1 if app is before else 2)
            app.backend.set(f"{name}-{app is after}", "kept")
        assert [app.backend.get(f"{name}-True") for app in (before, after)] == [b"kept", b"kept"]
        assert after.backend.get_key_for_task("one") == before.backend.get_key_for_task("one")
        assert Path(after.backend.as_uri()).name == Path(redis_url).name
    with before_and_after(redis_url, f"db+sqlite:///{tmp_path}/results") as (before, after):
        tables = [app.backend.ResultSession().get_bind().url for app in (before, after)]
        assert tables[0] == tables[1]
        assert not hasattr(after.backend, "client")
    for none in ("", "stratix://"):
        with before_and_after(redis_url, none) as (_, after):
            assert not hasattr(after.backend, "client")
            assert after.AsyncResult("unknown").state == "PENDING"
