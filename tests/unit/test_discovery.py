"""Which settings a program finds that names none, what it says of them, and what it says at its end."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, create_app, queue_plugin
from stratix_kombu.config.settings import load_settings, settings_file

DRIVERS = ("memory", "redis", "bullmq", "sqs", "rabbitmq")
PROGRAM = """
import sys, stratix_kombu
app = stratix_kombu.create_app()
print(app.queue.settings.namespace, flush=True)
if __name__ == "__main__" and "child" in sys.argv:
    import multiprocessing
    child = multiprocessing.get_context("spawn").Process(target=print)
    child.start()
    child.join()
"""


def toml(folder: Path, namespace: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "stratix.toml"
    file.write_text(f'driver = "memory"\nnamespace = "{namespace}"\n')
    return file


def run(*command: str, cwd: Path, **environment: str) -> list[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STRATIX_")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with its settings, a script, and a package with a main module."""
    project = tmp_path / "project"
    toml(project, "of-the-project")
    (project / "main.py").write_text(PROGRAM)
    (project / "shop").mkdir()
    for name in ("__init__", "__main__", "worker"):
        (project / "shop" / f"{name}.py").write_text(PROGRAM if name != "__init__" else "")
    return project


def test_in_the_working_folder_however_python_was_started(project: Path) -> None:
    for command in (["main.py"], ["-m", "main"], ["-m", "shop"], ["-c", PROGRAM]):
        assert run(*command, cwd=project) == ["of-the-project"], command


def test_beside_the_main_module_of_a_program_that_was_started_elsewhere(project: Path, tmp_path: Path) -> None:
    script = str(project / "main.py")
    assert run(script, cwd=tmp_path) == ["of-the-project"]
    assert run(script, "child", cwd=tmp_path) == ["of-the-project", "of-the-project"]
    for module in ("main", "shop", "shop.worker"):
        assert run("-m", module, cwd=tmp_path, PYTHONPATH=str(project)) == ["of-the-project"], module
    (tmp_path / "link.py").symlink_to(script)
    (tmp_path / "elsewhere").mkdir()
    assert run(str(tmp_path / "link.py"), cwd=tmp_path / "elsewhere") == ["of-the-project"]
    assert run("-c", PROGRAM, cwd=tmp_path, PYTHONPATH=str(project)) == ["stratix"]


def test_the_working_folder_comes_before_the_main_module_and_a_named_file_before_both(
    project: Path, tmp_path: Path
) -> None:
    script = str(project / "main.py")
    toml(tmp_path / "here", "of-the-folder")
    assert run(script, cwd=tmp_path / "here") == ["of-the-folder"]
    named = toml(tmp_path / "named", "of-the-named-one")
    assert run(script, cwd=tmp_path / "here", STRATIX_CONFIG=str(named)) == ["of-the-named-one"]
    assert run(script, cwd=tmp_path / "here", STRATIX_CONFIG="") == ["of-the-folder"]
    assert run(script, cwd=tmp_path / "here", STRATIX_NAMESPACE="of-the-environment") == ["of-the-environment"]


def test_the_command_line_finds_what_a_program_finds(project: Path) -> None:
    (project / "jobs.py").write_text("from stratix_kombu import create_app\napp = create_app()\n")
    for command in (["check"], ["check", "--app", "jobs"]):
        done = run("-m", "stratix_kombu", *command, cwd=project)
        assert "of-the-project" in done, command


def test_a_frozen_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bundle" / "shop"
    file = toml(program.parent, "of-the-bundle")
    program.touch()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.chdir(tmp_path)
    assert settings_file() == file
    monkeypatch.undo()


def test_a_session_without_a_main_file_and_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    monkeypatch.setattr(sys, "argv", [""])
    assert settings_file() is None
    gone.rmdir()
    assert settings_file() is None
    assert load_settings(environment={}).namespace == "stratix"


def test_code_that_gives_settings_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(tmp_path, "of-the-folder")
    monkeypatch.chdir(tmp_path)
    assert create_app({"driver": "memory"}).queue.settings.namespace == "stratix"
    app = create_app()
    app.register(queue_plugin, shutdown_timeout=3)
    assert (app.queue.settings.namespace, app.queue.settings.shutdown_timeout) == ("of-the-folder", 3.0)


@pytest.mark.parametrize("environment", [{}, {"STRATIX_DRIVER": "memory"}])
def test_who_says_memory_does_not_write_into_the_store_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    (tmp_path / "stratix.toml").write_text('driver = "rabbitmq"\nstore = "redis://production.invalid/0"\n')
    monkeypatch.chdir(tmp_path)
    arguments = {} if environment else {"driver": "memory"}
    assert load_settings(None, arguments, environment, DRIVERS).store == "memory://"
    named = {**environment, "STRATIX_STORE": "redis://mine:1/0"}
    assert load_settings(None, {}, {"STRATIX_DRIVER": "memory", **named}, DRIVERS).store == "redis://mine:1/0"


# -- what is said ---------------------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [one for one in caplog.records if getattr(one, "action", "") == "settings"]
    return [(one.levelname, one.getMessage()) for one in found]


def test_one_line_says_what_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str, caplog: Any
) -> None:
    host, _, port = redis_url.partition("//")[2].partition("/")[0].partition(":")
    (tmp_path / "stratix.toml").write_text(f'[redis]\nhost = "{host}"\nport = {port}\nconnect_timeout = 3000\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRATIX_NAMESPACE", tmp_path.name[:40])
    with caplog.at_level(logging.INFO, "stratix_kombu"):
        app = create_app()
        app.register(queue_plugin, shutdown_timeout=1)
        for _ in range(2):
            with app:
                app.start()
    file = tmp_path / "stratix.toml"
    assert lines(caplog) == [
        (
            "INFO",
            f"settings: {file}, the code, the environment; redis (store redis://{host}:{port}/0), "
            f"namespace '{tmp_path.name[:40]}'",
        )
    ]


def test_it_is_said_at_the_start_where_the_log_was_configured_after_the_import(caplog: Any) -> None:
    app = create_app({"driver": "memory", "namespace": "later"})
    app.queue.get_queue("q")
    assert lines(caplog) == []
    with caplog.at_level(logging.INFO, "stratix_kombu"), app:
        app.start()
    assert lines(caplog) == [("INFO", "settings: the code; memory (store memory://), namespace 'later'")]


def test_credentials_are_not_said(caplog: Any) -> None:
    with caplog.at_level(logging.INFO, "stratix_kombu"):
        options = {"url": "redis://user:hidden-secret@127.0.0.1:1/0"}
        _ = create_app({"driver": "redis", "redis": options}).queue
        _ = create_app({"driver": "amqp", "rabbitmq": {"url": "amqp://u:hidden-secret@h//"}, "store": options}).queue
    assert len(lines(caplog)) == 2
    assert "hidden-secret" not in str(lines(caplog))


@pytest.mark.parametrize(
    "given",
    [
        {"bullmq": {"maxStalledCount": 2}},
        {"processor": {"timeout": 1000}},
        {"defaultJobOptions": {"attempts": 3}},
        {"queues": {"emails": {"concurrency": 3}}},
        {"namespace": "shop"},
    ],
)
def test_settings_without_a_driver_mean_memory_which_is_said_aloud(given: dict[str, Any], caplog: Any) -> None:
    """Programs that use them most likely mean Redis."""
    app = Application()
    app.register(queue_plugin, given)
    ((level, text),) = lines(caplog)
    assert level == "WARNING"
    assert "No driver is configured, so messages are kept in the memory of this process" in text
    assert "redis={...}" in text
    with app:
        app.start()
    assert len(lines(caplog)) == 1


@pytest.mark.parametrize("given", [None, {"driver": "memory"}, {"driver": "memory", "bullmq": {"maxStalledCount": 2}}])
def test_nobody_is_warned_of_a_memory_that_was_asked_for_or_of_an_empty_table(given: Any, caplog: Any) -> None:
    app = create_app(given)
    with app:
        app.start()
    assert lines(caplog) == []


def test_the_document_driver_alone_is_redis_on_this_host(caplog: Any) -> None:
    with caplog.at_level(logging.INFO, "stratix_kombu"):
        _ = create_app({"driver": "bullmq"}).queue
    ((_, text),) = lines(caplog)
    assert "(store redis://127.0.0.1:6379/0)" in text


def test_a_store_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ({"driver": "sqs"}, {"driver": "rabbitmq", "redis": {"host": "cache"}}):
        with pytest.raises(ConfigurationError, match=r"needs a 'store'.*store=\{'host': \.\.\.\}.*redis=\{\.\.\.\}"):
            _ = create_app(given).queue


def test_the_error_of_a_second_registration_says_what_to_do() -> None:
    app = create_app({"driver": "memory"})
    app.register(queue_plugin, namespace="mine")
    with pytest.raises(ConfigurationError, match=r"pass all of its options in one call.*create_queue"):
        app.register(queue_plugin, processor={"timeout": 1000})
    used = create_app({"driver": "memory"})
    used.queue.get_queue("q")
    with pytest.raises(ConfigurationError, match=r"was used before queue_plugin was registered.*register it first"):
        used.register(queue_plugin, namespace="mine")


# -- what is said at the end ----------------------------------------------------------------------

LOSES = """
import os, stratix_kombu
app = stratix_kombu.create_app({"driver": "memory"})
emails, reports = app.queue.get_queue("emails"), app.queue.get_queue("reports")
first = emails.add("n")
emails.add("n", delay=60_000)
reports.add("n", dependencies=[first])
app.queue.get_queue("empty")
"""
ENDS = r"(\d+) unfinished jobs end with this process, whose .*: emails \(2\), reports \(1\).*redis=\{'url'"


def end_of(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done.stderr


def test_jobs_that_end_with_the_process_are_reported_once() -> None:
    said = end_of(LOSES + "with app:\n    pass\n")
    assert re.findall(ENDS, said) == ["3"]
    assert len(said.splitlines()) == 1


def test_so_are_those_of_a_program_that_fails() -> None:
    done = subprocess.run([sys.executable, "-c", LOSES + "raise SystemExit(3)"], capture_output=True, text=True)
    assert (done.returncode, re.findall(ENDS, done.stderr)) == (3, ["3"])


def test_a_forked_child_says_nothing_of_its_copy() -> None:
    code = LOSES + "pid = os.fork()\nif pid:\n    os.waitpid(pid, 0)\nelse:\n    print('child')\n"
    assert re.findall(ENDS, end_of(code)) == ["3"]


@pytest.mark.parametrize(
    "code",
    [
        "queue.add('n').wait_until_finished(10)",  # all of it has ended
        "queue.add('n').wait_until_finished(10); queue.add('n', delay=60_000); queue.obliterate(force=True)",
        "",
    ],
)
def test_nothing_is_said_when_nothing_is_lost(code: str) -> None:
    assert (
        end_of(
            "import stratix_kombu\nwith stratix_kombu.create_app() as app:\n    app.start()\n"
            f"    queue = app.queue.get_queue('q')\n    queue.process(print)\n    {code or 'pass'}\n"
        )
        == ""
    )


def test_tests_of_users_end_quietly(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        f"def test_mine(stratix_queue):\n    stratix_queue.add('n')\ndef test_mine_too():\n    exec('''{LOSES}''')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "2 passed" in done.stdout
    assert done.stderr == ""
