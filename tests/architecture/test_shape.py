"""Top level, budgets, public names, and what the wheel holds."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import FunctionType

import pytest

import stratix_kombu
from tests.services import require

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "stratix_kombu"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(path for kind in ("*.lua", "*.sql") for path in PACKAGE.rglob(kind))
TEXTS = (
    PACKAGE / "py.typed",
    PACKAGE / "LICENSE",
    *(PACKAGE / "dashboard" / "static").iterdir(),
    *(PACKAGE / "dashboard" / "templates").iterdir(),
)
TOP_LEVEL = {"setup.cfg", "pyproject.toml", "stratix_kombu", "tests", "examples", "tox.ini", "README.md"}

MAX_LINES = 400
MAX_FUNCTION = 60
MAX_METHODS = 15
MAX_PARAMETERS = 6
METHODS = (FunctionType, property, classmethod, staticmethod, cached_property)
LARGE_CLASSES = {
    "Queue": "the documented queue API",
    "QueueReader": "the part of it that reads",
    "ManyJobs": "a part of Queue, with the part below it",
    "Job": "the documented job API",
    "KnownJob": "the documented attributes of a job",
    "Transitions": "the contract",
    "ByHand": "a part of the contract",
    "Queries": "the contract",
    "MemoryTransitions": "one method for each of the contract",
    "MemoryQueries": "one method for each of the contract",
    "FileDriver": "what KombuDriver lets a transport say differently",
    "PostgresTransitions": "one method for each of the contract",
    "SqlTransitions": "one method for each of the contract",
    "SqlQueries": "one method for each of the contract",
    "SqlSpace": "the moves of the memory store",
    "SqlOrder": "as Order, and its table",
    "RedisQueries": "one method for each of the contract",
    "Upkeep": "as MemoryTransitions",
    "RedisTransitions": "one method for each of the contract",
    "AsyncJob": "Job for asyncio",
    "AsyncQueue": "Queue for asyncio",
    "QueueManager": "the documented API of app.queue",
    "StratixBackend": "one method for each of Celery's backend contract",
    "KombuDriver": "the contract, and what a transport may say differently",
    "SandboxJob": "Job, as a handler sees it in a child",
    "RedisDriver": "what KombuDriver lets a transport say differently",
    "SQSDriver": "what KombuDriver lets a transport say differently",
    "RabbitMQDriver": "what KombuDriver lets a transport say differently",
    "MemoryDriver": "KombuDriver, over Kombu's transport in memory",
    "Space": "the state of the memory store, one method for each of its rules",
    "Running": "a part of MemoryTransitions, with the parts below it",
    "Taking": "a part of MemoryTransitions, with the parts below it",
}
"""The exceptions from MAX_METHODS, counted over all bases, each with its reason; test suites are not counted."""


def test_the_top_level_is_what_was_agreed() -> None:
    listed = subprocess.run([require("git"), "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    visible = {line.partition("/")[0] for line in listed.splitlines() if not line.startswith(".")}
    assert visible == TOP_LEVEL


def test_files_stay_short() -> None:
    found = [*SOURCES, *SCRIPTS, *(ROOT / "tests").rglob("*.py")]
    long = {str(path.relative_to(ROOT)): n for path in found if (n := len(path.read_text().splitlines())) > MAX_LINES}
    assert long == {}


def _nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path, node


def test_functions_stay_short_and_take_few_parameters() -> None:
    broken = []
    for path, node in _nodes():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            names = [one.arg for one in (*node.args.posonlyargs, *node.args.args) if one.arg not in ("self", "cls")]
            if length > MAX_FUNCTION or len(names) > MAX_PARAMETERS:
                broken.append(f"{path.name}: {node.name} ({length} lines, {len(names)} parameters)")
    assert broken == []


def test_only_the_verbs_change_what_the_store_holds() -> None:
    """Others read the store, and call the verbs of lifecycle/ to change it."""
    writes = re.compile(r"\.transitions\b|\.schedules\.(put|remove|set_paused|fire)\(|\bschedules\.(put|remove|fire)\(")
    rooms = {"stores", "testing", "lifecycle"}
    found = [
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in SOURCES
        if path.relative_to(PACKAGE).parts[0] not in rooms
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if writes.search(line)
    ]
    assert found == []


def _classes() -> Iterator[type]:
    """The classes at the top level of the package's modules, without those of the exported test suites, and of the
    modules for Django, which can be imported in a project only: tests/integrations/test_django.py looks at them."""
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if not {"testing", "django"} & {*parts} and parts[-1] not in ("__init__", "__main__"):
            module = importlib.import_module(".".join(parts))
            yield from (
                member
                for member in vars(module).values()
                if isinstance(member, type) and member.__module__ == module.__name__
            )


def _public_methods(cls: type) -> set[str]:
    """Over all bases of the package, properties among them."""
    return {
        name
        for base in cls.__mro__
        if base.__module__.startswith("stratix_kombu.")
        for name, member in vars(base).items()
        if not name.startswith("_") and isinstance(member, METHODS)
    }


def test_classes_stay_small() -> None:
    large = {
        cls.__name__: f"{cls.__module__} has {len(methods)} methods"
        for cls in _classes()
        if len(methods := _public_methods(cls)) > MAX_METHODS
    }
    assert {name: text for name, text in large.items() if name not in LARGE_CLASSES} == {}
    assert set(LARGE_CLASSES) - set(large) == set(), "these are large no more: strike them off the list"


def test_public_names_are_sorted_and_there() -> None:
    assert stratix_kombu.__all__ == sorted(stratix_kombu.__all__)
    for name in stratix_kombu.__all__:
        assert getattr(stratix_kombu, name).__doc__, f"{name} has no docstring"


def test_public_names_are_documented() -> None:
    missing = []
    for path, node in _nodes():
        if isinstance(node, ast.Module) and not ast.get_docstring(node) and path.read_text().strip():
            missing.append(path.name)
    assert missing == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Of a copy, for a build leaves files behind, and would put those of an earlier one into the wheel."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.cfg", "README.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(PACKAGE, source / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_every_script_and_source_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    wanted = {str(path.relative_to(ROOT)) for path in (*SOURCES, *SCRIPTS, *TEXTS)}
    assert held == wanted


def test_the_wheel_has_the_licence(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    text = wheel.read(metadata).decode()
    assert "License-Expression: MIT" in text
    assert "License-File: stratix_kombu/LICENSE" in text
    (licence,) = (name for name in wheel.namelist() if ".dist-info/licenses/" in name)
    assert wheel.read(licence) == wheel.read("stratix_kombu/LICENSE") == (PACKAGE / "LICENSE").read_bytes()


def test_the_wheel_names_its_entry_points_and_extras(wheel: zipfile.ZipFile) -> None:
    (points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    text = wheel.read(points).decode()
    assert "stratix-kombu = stratix_kombu.cli:main" in text
    (metadata,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    required = wheel.read(metadata).decode()
    for extra in ("redis", "sqs", "rabbitmq", "prometheus", "all", "test"):
        assert f"Provides-Extra: {extra}" in required
