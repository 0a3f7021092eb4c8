"""``worker`` and ``beat`` as processes: signals, crashes, reloading, what they log."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from stratix_kombu import Application, Job, create_app
from stratix_kombu.cli import supervisor
from tests.cli.command_processes import lives, running, started, write_module
from tests.cli.conftest import call
from tests.waiting import WAIT_S, until

TERM, INT, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGKILL


@pytest.fixture
def folder(config: Path) -> Path:
    return write_module(config)


def test_a_worker_takes_jobs_and_ends_in_peace(folder: Path, app: Application) -> None:
    options = ["--queues", "emails", "--concurrency", "7", "--log-format", "json"]
    with running(folder, "worker", "--app", "shop:app", *options) as worker:
        worker.says("runs jobs of emails (7) over redis (store redis://")
        worker.says("settings.toml; redis (store redis://")
        job = app.queue.get_queue("emails").add("welcome", "ada")
        assert job.wait_until_finished(timeout=30)[1] == "first"
        (presence,) = app.queue.get_queue("emails").get_workers()
        assert presence.concurrency == 7
        assert app.queue.get_queue("reports").get_workers() == []
        slow = app.queue.get_queue("emails").add("welcome", 1.0)
        until(lambda: slow.refresh().progress == 10, WAIT_S)
        (process,) = app.queue.get_workers()
        assert (process.id, process.queues, process.slots) == (presence.id, {"emails": 7}, 7)
        assert worker.ended(TERM) == 0, worker.err
        assert slow.refresh().state == "completed"
    lines = [json.loads(line) for line in worker.err.splitlines() if line.startswith("{")]
    (sent,) = [one for one in lines if one["message"] == "sending to ada"]
    assert (sent["logger"], sent["level"], sent["queue"], sent["job_name"]) == ("shop", "INFO", "emails", "welcome")
    assert (sent["job_id"], sent["attempt"]) == (job.id, 1)
    assert "Traceback" not in worker.err


def test_a_second_signal_ends_it_at_once(folder: Path, app: Application) -> None:
    """And logging that the module has set up is kept, with the job in its records."""
    own = "import logging\nlogging.basicConfig(format='own %(queue)s %(message)s', level=logging.INFO)\n"
    (folder / "shop.py").write_text(own + (folder / "shop.py").read_text())
    job = app.queue.get_queue("emails").add("welcome", 60.0)
    with running(folder, "worker", "-A", "shop") as worker:
        until(lambda: job.refresh().progress == 10, 60)
        worker.send(INT)
        until(lambda: worker.send(INT) or worker.has_ended, WAIT_S)  # the first ones count as the same
        assert worker.ended() == 130
    assert "own emails sending to 60.0" in worker.err


def test_processes_that_crash_are_started_again(folder: Path) -> None:
    with running(folder, "worker", "-A", "shop", "--processes", "2") as supervisor:
        until(lambda: len(started(folder)) == 3, 60)  # the supervisor has looked whether there are handlers
        own, first, second = started(folder)
        until(lambda: supervisor.err.count("runs jobs of") == 2, 60)
        os.kill(first, KILL)
        until(lambda: len(started(folder)) == 4, 60)
        until(lambda: supervisor.err.count("runs jobs of") == 3, 60)
        third = started(folder)[3]
        assert f"worker {first} ended with exit code -9: restarting in 0.2 s" in supervisor.err
        assert supervisor.ended(INT) == 0, supervisor.err
        assert not any(map(lives, (own, first, second, third)))


def test_a_signal_to_all_processes_of_a_service_hands_jobs_back(folder: Path, app: Application) -> None:
    """As systemd sends it: the workers get it a second time, from their supervisor."""
    config = folder / "settings.toml"
    config.write_text("shutdown_timeout = 0.3\n" + config.read_text())
    emails = app.queue.get_queue("emails")
    jobs = [emails.add("welcome", 60.0) for _ in range(2)]
    with running(folder, "worker", "-A", "shop", "--processes", "2") as supervisor:
        until(lambda: all(job.refresh().progress == 10 for job in jobs), 60)
        until(lambda: supervisor.err.count("runs jobs of") == 2, 60)
        for pid in started(folder):
            os.kill(pid, TERM)
        assert supervisor.ended(TERM) == 0, supervisor.err
    assert emails.get_job_counts()["active"] == 0


def test_workers_that_are_still_beginning_end_in_peace_too(folder: Path) -> None:
    text = (folder / "shop.py").read_text()
    waits = "import sys, time\nif '--supervised' in sys.argv: Path('waiting').touch(); time.sleep(60)\n"
    (folder / "shop.py").write_text(text + waits)
    with running(folder, "worker", "-A", "shop", "--processes", "2") as supervisor:
        until(lambda: (folder / "waiting").exists(), 60)
        assert supervisor.ended(TERM) == 0


def test_workers_end_with_a_supervisor_that_was_killed(folder: Path) -> None:
    with running(folder, "worker", "-A", "shop", "--processes", "2") as supervisor:
        until(lambda: supervisor.err.count("runs jobs of") == 2, 60)
        supervisor.ended(KILL)
        until(lambda: not any(map(lives, started(folder))), 60)


def test_a_worker_that_cannot_begin_is_not_started_again(folder: Path) -> None:
    text = (folder / "shop.py").read_text()
    (folder / "shop.py").write_text(text + "import sys\nif '--supervised' in sys.argv: raise OSError('no disk')\n")
    with running(folder, "worker", "-A", "shop", "--processes", "2") as supervisor:
        assert supervisor.ended() == 2
        assert "OSError: no disk" in supervisor.err
        assert "restarting in" not in supervisor.err


def test_reload_while_developing(folder: Path, app: Application) -> None:
    emails = app.queue.get_queue("emails")
    text = (folder / "shop.py").read_text()
    with running(folder, "worker", "-A", "shop", "--reload") as parent:
        assert emails.add("welcome").wait_until_finished(timeout=60)[1] == "first"
        (folder / "shop.py").write_text(text + "x = 1 +\n")
        parent.says("SyntaxError")
        parent.says("waiting for a change")
        (folder / "shop.py").write_text(text.replace('"first"', '"second"'))
        assert emails.add("welcome").wait_until_finished(timeout=60)[1] == "second"
        assert parent.ended(INT) == 0, parent.err
    until(lambda: not any(map(lives, started(folder))), WAIT_S)


def test_beat_is_the_clock_alone(config: Path) -> None:
    config.write_text(config.read_text() + "[worker]\nclock = false\n")
    with create_app(config) as app, running(config.parent, "beat", "--config", config.name) as beat:
        app.start()
        queue = app.queue.get_queue("emails")
        job = queue.add("n", delay=300)
        queue.add_repeatable_job("tick", every=1000, limit=1, key="tick")
        beat.says("runs the clock over redis")
        until(lambda: queue.get_job_counts()["waiting"] == 2, WAIT_S)
        assert job.get_state() == "waiting"
        assert queue.get_workers() == []
        assert beat.ended(TERM) == 0, beat.err


def test_metrics_are_served(folder: Path, app: Application) -> None:
    app.queue.get_queue("emails").add("n")
    with running(folder, "metrics", "--config", "settings.toml", "--serve", "0") as metrics:
        metrics.says("serving http://")
        assert "note: only this machine can reach it; for a Prometheus elsewhere: --host 0.0.0.0" in metrics.err
        url = metrics.err.split()[-1]
        assert url.startswith("http://127.0.0.1:")
        with urlopen(url, timeout=30) as page:
            assert 'queue_size{queue="emails",status="waiting"} 1.0' in page.read().decode()
        assert metrics.ended(INT) == 130
    assert "Traceback" not in metrics.err


def test_events_go_on_until_ctrl_c(folder: Path, app: Application) -> None:
    app.queue.get_queue("emails").add("n", job_id="before")
    with running(folder, "events", "--config", "settings.toml", "--follow", "--json") as events:
        events.says('"before"')
        app.queue.get_queue("new").add("n", job_id="after")
        app.queue.get_queue("emails").add("n", job_id="late")
        events.says('"late"')
        events.says('"after"')
        assert events.ended(INT) == 130
        assert [json.loads(line)["name"] for line in events.out.splitlines()] == ["waiting"] * 3
        assert events.err == ""


def test_logs_are_followed_until_the_job_has_ended(folder: Path, app: Application) -> None:
    queue, out = app.queue.get_queue("slow"), folder / "job.out"

    @queue.process("n")
    def handler(job: Job) -> None:
        job.log("one")
        until(lambda: out.exists() and "one" in out.read_text(), 60)
        for n in range(1100):  # more than are kept
            job.log(str(n))
        until(lambda: "1099\n" in out.read_text(), 60)
        job.log("two")

    with app:
        app.start()
        job = queue.add("n")
        with running(folder, "job", "logs", job.id, "-f", "--config", "settings.toml") as logs:
            assert logs.ended() == 0
            lines = logs.out.splitlines()
            assert (lines[0], lines[-2:]) == ("one", ["1099", "two"])


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", [], "there is no handler"),
        ("app.queue.get_queue('emails').process(print)\n", ["--queues", "email"], "did you mean 'emails'"),
        ("app.queue.get_queue('emails').process(print)\n", ["--processes", "2"], "is visible to one process only"),
        ("app.queue.get_queue('emails').process(print)\n", ["--processes", "2", "--reload"], "leave out --processes"),
    ],
)
def test_a_worker_without_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, options: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"work_{abs(hash((text, *options)))}"
    made = 'from stratix_kombu import create_app\napp = create_app({"driver": "memory"})\n'
    (tmp_path / f"{name}.py").write_text(made + text)
    result = call("worker", "--app", name, *options)
    assert (result.exit_code, words in result.stderr) == (2, True), result.output


@pytest.mark.parametrize(
    ("command", "given", "words"),
    [("worker", "", "does not have the bridge"), ("beat", "install(app)", "beat -S stratix")],
)
def test_celery_projects_have_a_beat_of_their_own_and_need_the_bridge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, given: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    made = "from celery import Celery\nfrom stratix_kombu.celery import install\napp = Celery(broker='memory://')\n"
    (tmp_path / f"proj_{command}.py").write_text(f"{made}{given}\n")
    result = call(command, "--app", f"proj_{command}")
    assert (result.exit_code, words in result.stderr) == (2, True), result.output


def test_a_worker_that_cannot_be_started_now_is_started_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system has no process left: the supervisor goes on, and so do the other workers."""
    child = supervisor.Child([sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(3)"])
    first = child.process
    first.communicate(timeout=60)
    supervisor.keep(child)
    assert "ended with exit code 3: restarting in 0.2 s" in capsys.readouterr().err
    with monkeypatch.context() as shortage:
        shortage.setattr(supervisor.subprocess, "Popen", lambda *_, **__: os.kill(2**22 + 1, 0))  # type: ignore[attr-defined]
        child.start_at = time.monotonic() - 1
        supervisor.keep(child)
    assert "no worker can be started: " in capsys.readouterr().err
    assert child.start_at > time.monotonic()
    supervisor.keep(child)
    assert child.process is first
    child.start_at = time.monotonic() - 1
    supervisor.keep(child)
    assert child.process is not first
    assert child.start_at == 0
    child.process.communicate(timeout=60)
