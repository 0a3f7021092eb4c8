"""What ``worker`` does on the signals that Celery's worker answers, too: SIGHUP, SIGQUIT, SIGUSR1."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from stratix_kombu import Application
from stratix_kombu.cli.worker_signals import WorkerSignals
from tests.cli.command_processes import Process, lives, running, started, write_module
from tests.waiting import WAIT_S, until

HUP, QUIT, TERM, USR1 = signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1


@pytest.fixture
def folder(config: Path) -> Path:
    return write_module(config)


def begun(worker: Process, processes: int) -> None:
    until(lambda: worker.err.count("runs jobs of") == processes, 60)


@pytest.mark.parametrize(("processes", "told"), [(1, "one"), (2, "one"), (2, "all")])
def test_it_starts_again_with_the_code_of_now(folder: Path, app: Application, processes: int, told: str) -> None:
    """``told``: the process that was started alone, or all of the service. What runs ends first."""
    emails = app.queue.get_queue("emails")
    # Functions that run at the exit of a process run here, too.
    with (folder / "shop.py").open("a") as file:
        file.write("import atexit\natexit.register(lambda: Path('exited').touch())\n")
    with running(folder, "worker", "-A", "shop", "--processes", str(processes)) as worker:
        begun(worker, processes)
        before = started(folder)
        slow = emails.add("welcome", 1.0)
        until(lambda: slow.refresh().progress == 10, WAIT_S)
        (folder / "shop.py").write_text((folder / "shop.py").read_text().replace('"first"', '"second"'))
        for pid in before[1:] if told == "all" else ():
            os.kill(pid, HUP)
        worker.send(HUP)
        pid, which = slow.wait_until_finished(timeout=30)
        assert (pid in before, which) == (True, "first")
        begun(worker, 2 * processes)
        assert (folder / "exited").exists()
        assert emails.add("welcome").wait_until_finished(timeout=30)[1] == "second"
        assert not any(map(lives, before[1:])), "only the process that was started is the same"
        assert slow.refresh().attempts_started == 1
        assert worker.ended(TERM) == 0, worker.err
    assert "Traceback" not in worker.err


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("first", [QUIT, TERM], ids=["quit", "term, quit"])
def test_it_hands_jobs_back_at_once(folder: Path, app: Application, processes: int, first: signal.Signals) -> None:
    emails = app.queue.get_queue("emails")
    jobs = [emails.add("welcome", 60.0) for _ in range(processes)]
    with running(folder, "worker", "-A", "shop", "-c", "1", "--processes", str(processes)) as worker:
        until(lambda: all(job.refresh().progress == 10 for job in jobs), 60)
        begun(worker, processes)
        if first is TERM:
            worker.send(first)
            worker.says("stopping, waiting for 1 job")
        began = time.monotonic()
        assert worker.ended(QUIT) == 0, worker.err
        assert time.monotonic() - began < 15, "half of shutdown_timeout"
    assert emails.get_job_counts()["active"] == 0
    assert emails.get_job_counts()["waiting"] == processes


@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_may_stand_for_sigquit(
    folder: Path, app: Application, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMAP_SIGTERM", "SIGQUIT")
    emails = app.queue.get_queue("emails")
    job = emails.add("welcome", 60.0)
    with running(folder, "worker", "-A", "shop", "--processes", str(processes)) as worker:
        until(lambda: job.refresh().progress == 10, 60)
        begun(worker, processes)
        began = time.monotonic()
        assert worker.ended(TERM) == 0, worker.err
        assert time.monotonic() - began < 15
    assert job.refresh().state == "waiting"


@pytest.mark.parametrize("processes", [1, 2])
def test_it_tells_what_it_executes(folder: Path, app: Application, processes: int) -> None:
    job = app.queue.get_queue("emails").add("welcome", 3.0)
    with running(folder, "worker", "-A", "shop", "--processes", str(processes)) as worker:
        until(lambda: job.refresh().progress == 10, 60)
        begun(worker, processes)
        worker.send(USR1)
        until(lambda: worker.err.count("is executing:") == processes, WAIT_S)
        worker.says("in welcome")
        worker.says("thread MainThread")
        job.wait_until_finished(timeout=30)
        assert worker.ended(TERM) == 0, worker.err


def ignore() -> None:
    """Nothing is asked of it."""


def test_what_a_later_signal_means(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    monkeypatch.setattr("stratix_kombu.signals.DOUBLED_S", 0.0)
    signals = WorkerSignals(ignore, ignore, heard.append)
    with signals:
        signal.raise_signal(HUP)
        signal.raise_signal(HUP)
        assert (signals.restarts, heard) == (True, []), "it starts again once"
        signal.raise_signal(TERM)
        assert (signals.number, signals.restarts, heard) == (TERM, False, []), "it is to stop after all"
        signal.raise_signal(HUP)
        signal.raise_signal(QUIT)
        assert (signals.number, heard) == (QUIT, [])
        signal.raise_signal(QUIT)
        assert heard == [QUIT]


def test_a_closed_terminal_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    signals = WorkerSignals(ignore, ignore)
    with signals:
        signal.raise_signal(HUP)
    assert (signals.number, signals.restarts) == (HUP, False)
