"""What a sandboxed handler has started: it ends with the child, whatever session it has moved to. On Linux."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, JobFailed, Queue, create_app
from stratix_kombu.worker.sandbox import family, pool, process
from tests.processes import children_of, lives, zombies
from tests.sandbox import handlers
from tests.waiting import until

WAIT_S = 60
NAMES = ("leave_daemon", "leave_litter", "wait_with_daemon", "wait_for_file", "end_a_child_of_its_own", "pid")


@pytest.fixture
def app() -> Iterator[Application]:
    with create_app({"driver": "memory", "namespace": f"box{uuid.uuid4().hex[:8]}", "shutdown_timeout": 5}) as app:
        app.start()
        yield app


@pytest.fixture
def queue(app: Application) -> Queue:
    queue = app.queue.create_queue("q", processor={"sandboxed": True})
    for name in NAMES:
        queue.process(name, getattr(handlers, name))
    return queue


def _noted(notes: Path) -> list[int]:
    return [int(one) for one in notes.read_text().split()] if notes.exists() else []


def _sandbox() -> int:
    """The child, among all that this process has started."""
    (pid,) = [one for one in children_of(os.getpid()) if "worker.sandbox" in Path(f"/proc/{one}/cmdline").read_text()]
    return pid


def _below(notes: Path) -> list[int]:
    """A child whose handler has started what it wants, and all that is below it."""
    until(lambda: _noted(notes) and len(family.descendants(_sandbox())) == 2, WAIT_S)
    found = family.descendants(_sandbox())
    assert _noted(notes)[0] in found
    return [_sandbox(), *found]


@pytest.mark.parametrize("how", ["cancel", "timeout", "close", "graceful"])
def test_a_process_in_a_session_of_its_own_ends_with_the_attempt(app: Application, tmp_path: Path, how: str) -> None:
    options: dict[str, Any] = {"sandboxed": True}
    if how == "graceful":
        options["kill_behavior"] = "graceful"
    queue, notes = app.queue.create_queue("q", processor=options), tmp_path / "notes"
    queue.process(handlers.wait_with_daemon)
    job = queue.add("n", str(notes), **({"timeout": 3_000} if how == "timeout" else {}))
    pids = _below(notes)
    if how == "close":
        assert not app.close(0.05)
    else:
        if how != "timeout":
            job.cancel()
        with pytest.raises(JobFailed, match="timed out" if how == "timeout" else "cancelled"):
            job.wait_until_finished(timeout=WAIT_S)
    until(lambda: not any(map(lives, pids)), WAIT_S)
    assert zombies() == []


def test_what_a_job_has_left_running_ends_with_its_child(app: Application, queue: Queue, tmp_path: Path) -> None:
    """It may go on until then."""
    notes = tmp_path / "notes"
    child = queue.add("leave_daemon", str(notes)).wait_until_finished(timeout=WAIT_S)
    until(lambda: _noted(notes), WAIT_S)
    (daemon,) = _noted(notes)
    assert queue.add("pid").wait_until_finished(timeout=WAIT_S) == child
    assert lives(daemon)
    app.close()
    until(lambda: not lives(daemon) and not lives(child), WAIT_S)


def test_a_child_that_has_adopted_many_that_have_ended_is_replaced(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MOST_LITTER", 4)
    notes = tmp_path / "notes"
    first = queue.add("leave_litter", str(notes)).wait_until_finished(timeout=WAIT_S)
    until(lambda: family.litter(first) == 2, WAIT_S)  # a process, and what it was started by
    assert queue.add("leave_litter", str(notes)).wait_until_finished(timeout=WAIT_S) == first
    until(lambda: not lives(first) or family.litter(first) == 4, WAIT_S)
    queue.add("pid").wait_until_finished(timeout=WAIT_S)
    assert queue.add("pid").wait_until_finished(timeout=WAIT_S) != first


def test_a_family_that_grows_while_it_is_killed() -> None:
    # Each of these processes only sleeps: there are never more than these.
    sleeps = "        time.sleep(30)\n        os._exit(0)\n"
    growing = f"import os, time\nfor _ in range(200):\n    if not os.fork():\n{sleeps}"
    code = (
        "import os, subprocess, sys, time; from stratix_kombu.worker.sandbox.family import adopt_orphans; "
        f"adopt_orphans(); subprocess.Popen([sys.executable, '-I', '-S', '-c', {growing!r}], start_new_session=True); "
        "print('began', flush=True); time.sleep(60)"
    )
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert started.stdout is not None
        started.stdout.readline()
        until(lambda: len(family.descendants(started.pid)) > 20, WAIT_S)
        family.kill_below(started.pid)
        assert family.descendants(started.pid) == {}
    finally:
        started.kill()
        started.communicate()


def test_a_number_that_another_process_has_now_is_left_alone() -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        family.kill({sleeper.pid: family.born(sleeper.pid) + 1})
        assert sleeper.poll() is None
        family.kill({sleeper.pid: family.born(sleeper.pid)})
        assert sleeper.wait(WAIT_S) == -signal.SIGKILL
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_signal_to_all_processes_of_a_service_leaves_the_job_its_time(queue: Queue, tmp_path: Path) -> None:
    """systemd sends SIGTERM to the children of a worker too: what runs is waited for."""
    gate = tmp_path / "gate"
    job = queue.add("wait_for_file", str(gate))
    until(lambda: Path(f"{gate}.began").exists(), WAIT_S)
    for _ in range(3):
        os.kill(_sandbox(), signal.SIGTERM)
    gate.touch()
    assert job.wait_until_finished(timeout=WAIT_S) == _sandbox()


def test_processes_that_a_handler_forks_end_by_sigterm(queue: Queue) -> None:
    assert queue.add("end_a_child_of_its_own").wait_until_finished(timeout=WAIT_S) == -signal.SIGTERM


def test_a_child_that_cannot_be_started_costs_no_attempt(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool, "STARVED_S", 0.01)
    refused = threading.Event()

    def refuse(*arguments: Any, **options: Any) -> Any:
        refused.set()
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with monkeypatch.context() as shortage:
        shortage.setattr(process.subprocess, "Popen", refuse)  # type: ignore[attr-defined]
        job = queue.add("pid")
        assert refused.wait(WAIT_S)
    assert job.wait_until_finished(timeout=WAIT_S)
    assert job.refresh().attempts_made == 1
    refused.clear()
    with monkeypatch.context() as shortage:
        os.kill(_sandbox(), signal.SIGKILL)
        shortage.setattr(process, "BOOT", f"import sys; sys.exit({process.NO_THREAD})")  # type: ignore[attr-defined]
        caplog.clear()
        job = queue.add("pid")
        until(lambda: "could not be started: can't start new thread" in caplog.text, WAIT_S)
    assert job.wait_until_finished(timeout=WAIT_S)
    assert job.refresh().attempts_made == 1


def test_one_that_can_never_be_started_fails(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.sys, "executable", "/nowhere/python")  # type: ignore[attr-defined]
    with pytest.raises(JobFailed, match=r"could not be started: .*No such file"):
        queue.add("pid").wait_until_finished(timeout=WAIT_S)
