"""What the demo's jobs do: measure one Python source file."""

from __future__ import annotations

import ast
import sysconfig
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LEFT_OUT = ("site-packages", "dist-packages", "test", "__pycache__")


@dataclass
class Totals:
    """Sums over files."""

    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0

    def add(self, measured: dict[str, Any]) -> None:
        self.files += 1
        self.lines += measured["lines"]
        self.functions += measured["functions"]
        self.classes += measured["classes"]


def standard_library() -> list[str]:
    """The source files of the running interpreter's standard library, without its tests."""
    paths = (path.relative_to(_root()) for path in _root().rglob("*.py"))
    return sorted(path.as_posix() for path in paths if not set(_LEFT_OUT) & set(path.parts))


def _root() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def measure(name: str) -> dict[str, Any]:
    """Lines, functions, classes and the longest function of a file. Raises ValueError if it does not parse."""
    path = _root() / name
    try:
        with tokenize.open(path) as file:
            source = file.read()
        tree = ast.parse(source, str(path))
    except (SyntaxError, UnicodeDecodeError) as problem:
        where = f" (line {problem.lineno})" if isinstance(problem, SyntaxError) and problem.lineno else ""
        reason = problem.msg if isinstance(problem, SyntaxError) else str(problem)
        raise ValueError(f"not valid in this Python version: {reason}{where}") from problem
    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    longest = max(functions, key=_length, default=None)
    return {
        "lines": source.count("\n") + (not source.endswith("\n") and bool(source)),
        "functions": len(functions),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
        "longest": None if longest is None else [longest.name, _length(longest)],
    }


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
