"""How the tests install what they need: with a stand-in for the package manager."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import installation, services
from tests.faults.worker_processes import ROOT

PROGRAM = "stratix-stand-in"
APT = """#!/bin/sh
# It is at work once at a time, as the real one is.
mkdir "{folder}/lock" 2>/dev/null || {{ echo "E: it is at work already" >&2; exit 100; }}
trap 'rmdir "{folder}/lock"' EXIT
echo "$@" >> "{folder}/calls"
{does}
"""
INSTALLS = f"""case "$*" in *install*)
  sleep 0.1
  test -e "{{folder}}/policy" && echo "no services" >> "{{folder}}/calls"
  printf '#!/bin/sh\\n' > "{{folder}}/{PROGRAM}"
  chmod +x "{{folder}}/{PROGRAM}";;
esac
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """On the PATH, with a run of its own."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(installation, "PACKAGES", {PROGRAM: "stand-in"})
    monkeypatch.setattr(installation, "POLICY", tmp_path / "policy")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv(installation.RUN, str(tmp_path / "run"))
    (tmp_path / "run").touch()
    return tmp_path


def _apt(folder: Path, does: str) -> None:
    file = folder / "apt-get"
    file.write_text(APT.format(folder=folder, does=does.format(folder=folder)))
    file.chmod(0o755)


def _calls(folder: Path) -> list[str]:
    options = f"-o DPkg::Lock::Timeout={installation.LOCK_S} "
    return [line.removeprefix(options) for line in (folder / "calls").read_text().splitlines()]


def _at_once(folder: Path, count: int = 5) -> set[str]:
    """What each of several processes gets."""
    code = (
        "import os; from pathlib import Path; from tests import installation\n"
        f"installation.PACKAGES, installation.POLICY = {{{PROGRAM!r}: 'stand-in'}}, Path({str(folder / 'policy')!r})\n"
        "os.geteuid = lambda: 0\n"
        f"print(installation.install([{PROGRAM!r}]))"
    )
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return {process.communicate(timeout=60)[0].rstrip("\n") for process in running}


def test_processes_that_need_a_program_at_once_install_it_once(folder: Path) -> None:
    _apt(folder, INSTALLS)
    assert _at_once(folder) == {""}
    assert _calls(folder) == ["update -qq", "install -y -qq stand-in", "no services"]
    assert not (folder / "policy").exists()


def test_what_cannot_be_installed_is_tried_once_and_said_in_one_line(folder: Path) -> None:
    _apt(folder, "echo 'Reading package lists...' >&2; echo 'E: Unable to locate package stand-in' >&2; exit 100\n")
    expected = "apt-get install stand-in failed: exit code 100: E: Unable to locate package stand-in"
    assert _at_once(folder) == {expected}
    assert installation.install([PROGRAM]) == expected
    assert _calls(folder) == ["update -qq", "install -y -qq stand-in"]


def test_a_lock_that_the_package_manager_does_not_wait_for_is_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation.time, "sleep", lambda seconds: None)
    busy = 'test -e "{folder}/tried" || {{ : > "{folder}/tried"; echo "E: no lock /x/lists/lock" >&2; exit 100; }}\n'
    _apt(folder, busy + INSTALLS)
    assert installation.install([PROGRAM]) == ""
    assert [call.split()[0] for call in _calls(folder)] == ["update", "update", "install", "no"]


def test_a_program_that_is_there_although_its_service_cannot_start_is_enough(folder: Path) -> None:
    _apt(folder, INSTALLS + "exit 100\n")
    assert installation.install([PROGRAM]) == ""
    assert installation.install([PROGRAM]) == ""


def test_what_cannot_be_installed_does_not_keep_the_others_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "PACKAGES", {PROGRAM: "stand-in", "stratix-other": "other"})
    _apt(folder, 'case "$*" in *other*) echo "E: Unable to locate package other" >&2; exit 100;; esac\n' + INSTALLS)
    problem = installation.install([PROGRAM, "stratix-other"])
    assert problem == "apt-get install stand-in other failed: exit code 100: E: Unable to locate package other"
    assert installation.install([PROGRAM]) == ""
    assert installation.install(["stratix-other"]) == problem
    assert [call for call in _calls(folder) if call.startswith("install")] == [
        "install -y -qq stand-in other",
        "install -y -qq stand-in",
        "install -y -qq other",
    ]


def test_a_machine_with_a_rule_of_its_own_keeps_it(folder: Path) -> None:
    (folder / "policy").write_text("own")
    _apt(folder, INSTALLS)
    assert installation.install([PROGRAM]) == ""
    assert (folder / "policy").read_text() == "own"


@pytest.mark.parametrize(("user", "why"), [(1000, "the tests do not run as root"), (0, "there is no apt-get")])
def test_where_it_cannot_be_done_the_message_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, user: int, why: str
) -> None:
    if user:
        _apt(folder, INSTALLS)
    else:
        monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    expected = f"not installed, and {why}: stand-in (on Debian: apt-get install stand-in)"
    assert installation.install([PROGRAM]) == expected
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped:
        services.require(PROGRAM)
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception) as failed:
        services.require(PROGRAM)
    assert {str(skipped.value), str(failed.value)} == {expected}
