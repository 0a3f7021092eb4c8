"""``new`` writes a project that passes its tests and runs; completion in the shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import call


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STRATIX_")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90)


def test_a_new_project_passes_its_tests_and_runs(tmp_path: Path) -> None:
    folder = tmp_path / "my-shop"
    done = call("new", str(folder))
    assert done.exit_code == 0, done.output
    tested = run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    command = [sys.executable, "-m", "stratix_kombu", "worker", "--app", "my_shop.jobs:app"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as worker:
        try:
            added = run(folder, "add.py")
        finally:
            worker.send_signal(signal.SIGTERM)
            _, said = worker.communicate(timeout=60)
    assert added.stdout == "sent to ada@example.com\n", added.stderr + said
    assert worker.returncode == 0, said
    again = call("new", str(folder))
    assert again.exit_code == 1
    assert "is there already" in again.output


@pytest.mark.parametrize("name", ["1shop", "tests", "a b", "shöp"])
def test_names_that_no_package_can_have(tmp_path: Path, name: str) -> None:
    refused = call("new", str(tmp_path / name))
    assert refused.exit_code == 2
    assert "cannot name a package" in refused.output
    assert list(tmp_path.iterdir()) == []


def test_an_empty_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be that of a shell variable that is not set."""
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    refused = call("new", "")
    assert refused.exit_code == 2
    assert "it is empty: name a folder" in refused.output
    assert list(folder.iterdir()) == []
    assert call("new", ".").exit_code == 0, "who means it may say so"
    assert (folder / "stratix.toml").exists()


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        *((name, "a keyword of Python") for name in ("class", "None", "async", "import")),
        *((name, "a module of Python's standard library") for name in ("json", "ast", "logging", "_thread", "email")),
        *((name, "a package that is installed here") for name in ("stratix-kombu", "pytest", "redis", "kombu", "amqp")),
        *((name, "the name of another file of the project") for name in ("add", "conftest", "Tests")),
    ],
)
def test_names_that_are_taken(tmp_path: Path, name: str, taken: str) -> None:
    refused = call("new", str(tmp_path / name))
    package = name.replace("-", "_")
    assert refused.exit_code == 2
    said = f"'{package}' cannot name a package: it is {taken}; choose another, such as '{package}_jobs'"
    assert said in " ".join(refused.output.split())
    assert list(tmp_path.iterdir()) == [], "nothing is written"
    assert call("new", str(tmp_path / f"{package}_jobs")).exit_code == 0


def test_the_folder_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in (("json", 2), ("shop", 0)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert call("new", ".").exit_code == code


@pytest.mark.parametrize("name", ["match", "type", "_"])
def test_a_soft_keyword_names_a_package(tmp_path: Path, name: str) -> None:
    assert call("new", str(tmp_path / name)).exit_code == 0
    tested = run(tmp_path / name, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_completion() -> None:
    environment = {**os.environ, "_STRATIX_KOMBU_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    command = [str(Path(sys.executable).with_name("stratix-kombu"))]
    for words, offered in (
        ("stratix-kombu wor", ["plain,worker", "plain,workers"]),
        ("stratix-kombu worker --conc", ["plain,--concurrency"]),
    ):
        environment.update(COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.stdout.splitlines() == offered, done.stderr
