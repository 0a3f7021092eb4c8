"""What users write is checked by mypy and pyright: a program without a fault, and one of which each fault is found."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stratix_kombu import Flow, Job, aio
from tests.architecture.test_surface import SURFACE
from tests.pages import snippets

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAM, MISTAKES = (HERE / "program.py", HERE / "more_program.py"), HERE / "mistakes.py"
MARK = re.compile(r"# error$", re.MULTILINE)

Found = dict[tuple[str, int], str]
"""By file and line: what a checker says."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The programs, outside of the package as a user's are, and what the checkers say."""
    for path in (*PROGRAM, MISTAKES):
        shutil.copy(path, tmp_path)
    # As for an installed package: what is in it is not the user's to fix.
    silent = "[mypy-stratix_kombu.*]\nfollow_imports = silent\n"
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = True\nmypy_path = {ROOT}\n{silent}")
    project = {"include": ["*.py"], "extraPaths": [str(ROOT)], "typeCheckingMode": "strict"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(project))
    return tmp_path


def _marked() -> set[tuple[str, int]]:
    lines = MISTAKES.read_text(encoding="utf-8").splitlines()
    return {(MISTAKES.name, number) for number, line in enumerate(lines, 1) if MARK.search(line)}


def _check(found: Found) -> None:
    said = "\n".join(f"{name}:{line}: {text}" for (name, line), text in sorted(found.items()))
    assert {place for place in found if place[0] != MISTAKES.name} == set(), said
    assert set(found) == _marked(), said


def test_mypy(folder: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--cache-dir", "cache", *(path.name for path in PROGRAM), MISTAKES.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 1, done.stdout + done.stderr  # 2: it could not check
    lines = re.findall(r"^(\w+\.py):(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    _check({(name, int(line)): text for name, line, text in lines})


def _pyright(folder: Path, code: int) -> Found:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    found = [one for one in json.loads(done.stdout)["generalDiagnostics"] if one["severity"] == "error"]
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1): one["message"] for one in found}


def test_pyright(folder: Path) -> None:
    _check(_pyright(folder, 1))


def test_the_readme_and_the_guide(tmp_path: Path) -> None:
    """Without annotations too. Of Celery's tasks a checker knows nothing, so their snippets are left out."""
    for number, snippet in enumerate(snippets("python")):
        if not re.search(r"^from (celery|tasks) import", snippet.text, re.MULTILINE):
            (tmp_path / (snippet.file or f"snippet_{number}.py")).write_text(snippet.text)
    project = {"include": ["*.py"], "extraPaths": [str(ROOT)], "typeCheckingMode": "standard"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(project))
    assert _pyright(tmp_path, 0) == {}


def test_the_program_uses_everything_that_is_documented() -> None:
    nodes = [node for path in PROGRAM for node in ast.walk(ast.parse(path.read_text()))]
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names = {name for names in SURFACE.values() for name in names.split()}
    mirrors = [cls for name, cls in vars(aio).items() if name.startswith("Async")]
    names |= {name for cls in (Job, Flow, *mirrors) for name in dir(cls) if name[0] != "_"}
    implemented = {"init", "create_queue", "close", "get_name", "check_health"}  # by drivers
    assert sorted(names - used - implemented) == []
