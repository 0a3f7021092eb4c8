"""Where a fresh process finds a handler: by module and name, in the main script, or in a file."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from stratix_kombu.errors import ConfigurationError

FILE_HANDLER = "process"
"""The function that a file of its own defines."""
MAIN = "__mp_main__"
"""What a child calls the main script when it imports it, as multiprocessing does: its ``__main__`` part is left out."""
ADVICE = "move it to the top level of a module, or give the path of a file that defines process(job)"


@dataclass(frozen=True, slots=True)
class Source:
    """``kind`` is ``module``, ``main`` or ``file``; ``where`` a module's name or a path; ``name`` the function's. Of
    the kind ``made``, ``where`` is a function of the package, as module:name, that makes the handler of ``name``."""

    kind: str
    where: str
    name: str

    def __str__(self) -> str:
        return self.name if self.kind == "made" else f"{self.where}:{self.name}"

    def load(self) -> Callable[[Any], Any]:
        """Import the handler, in the child. Raises whatever its module does."""
        if self.kind == "made":
            module, _, function = self.where.partition(":")
            made: Callable[[Any], Any] = getattr(importlib.import_module(module), function)(self.name)
            return made
        if self.kind == "module":
            found: Any = importlib.import_module(self.where)
        elif self.kind == "main":
            found = sys.modules["__main__"]
            if getattr(found, "__file__", None) != self.where:
                found = sys.modules["__main__"] = _import_file(MAIN, self.where)
                found.__spec__ = None  # processes that the handler starts find it by its path again
        else:
            # The file's neighbours can be imported, but hide nothing.
            sys.path.append(str(Path(self.where).parent))
            found = _import_file(f"stratix_sandbox_{Path(self.where).stem}", self.where)
        for part in self.name.split("."):
            found = getattr(found, part)
        if not callable(found):
            raise TypeError(f"{self} is not a function but {found!r}")
        handler: Callable[[Any], Any] = found
        return handler


def _import_file(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def source_of(handler: object) -> Source:
    """Where a child finds this handler: a function, or the path of a file. Raises ConfigurationError, with advice."""
    if os.name != "posix":
        raise ConfigurationError("sandboxes need a POSIX system, such as Linux or macOS: handle this queue on one")
    if isinstance(handler, (str, Path)):
        return _file(Path(handler))
    name, module = getattr(handler, "__qualname__", ""), getattr(handler, "__module__", "")
    if not callable(handler):
        raise ConfigurationError(f"a handler must be a function of the job, or the path of a file, not {handler!r}")
    bound = inspect.ismethod(handler) and not inspect.isclass(handler.__self__)
    if not name or not module or "<" in name or bound:
        raise ConfigurationError(
            f"a sandboxed handler must be a function that another process can import by module and name, not "
            f"{handler!r}: {ADVICE}"
        )
    return _of_main(name) if module == "__main__" else Source("module", module, name)


def _of_main(name: str) -> Source:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # python -m package.module
        return Source("module", spec.name, name)
    path = Path(getattr(main, "__file__", None) or "")
    if not path.is_file():
        raise ConfigurationError(
            f"the sandboxed handler {name!r} is defined in a session or by 'python -c', where no other process can "
            f"find it: {ADVICE}"
        )
    return Source("main", str(path.resolve()), name)


def _file(path: Path) -> Source:
    resolved = path.resolve()
    try:
        tree = ast.parse(resolved.read_bytes(), filename=str(resolved))
    except OSError as problem:
        raise ConfigurationError(
            f"the handler file {resolved} cannot be read: {problem.strerror}; a relative path starts from "
            "the working directory, so Path(__file__).with_name(...) is safer"
        ) from problem
    except (SyntaxError, ValueError) as problem:
        raise ConfigurationError(f"the handler file {resolved} is not Python: {problem}") from problem
    names = set(_bound(tree))
    if FILE_HANDLER not in names and "*" not in names:
        raise ConfigurationError(f"the handler file {resolved} defines no process(job)")
    return Source("file", str(resolved), FILE_HANDLER)


def _bound(tree: ast.AST) -> Iterator[str]:
    """Names that running a module binds at its top level, without running it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif not isinstance(node, ast.Lambda):
            yield from _bound(node)
