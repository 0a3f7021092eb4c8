"""What to write instead of a name that does not exist."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from opcode import opmap
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from stratix_kombu.foreign import DURATIONS, OPTIONS, PACKAGE
from stratix_kombu.misplaced import PLACES, REMEDIES

NO_OTHERS: Mapping[str, str] = {}
"""For names that users choose."""
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


def snake(name: str) -> str:
    """``removeOnComplete`` -> ``remove_on_complete``."""
    return _HUMP.sub(lambda hump: f"_{hump[1].lower()}", name)


def nearest(name: str, known: Iterable[str], others: Mapping[str, str] = NO_OTHERS) -> str:
    """A hint such as ``; did you mean 'attempts'?``, or the list of known names."""
    names = sorted(known)
    hint = hint_for(name, names, others)
    return hint or (f"; known: {', '.join(names)}" if names else "")


def nearest_option(name: str, known: Iterable[str]) -> str:
    """``nearest`` for the name of an option, which may be another library's name for it."""
    return nearest(name, known, OPTIONS)


def hint_for(name: str, names: Iterable[str], others: Mapping[str, str]) -> str:
    """A hint, or '' if nothing is near."""
    names = list(names)
    meant = meant_by(name, names, others)
    if not meant:
        return ""
    if meant not in names:
        return f"; write {meant}"
    unit = " It is in milliseconds, or a timedelta" if others is OPTIONS and meant in DURATIONS else ""
    return f"; did you mean {meant!r}?{unit}"


def meant_by(name: str, names: Iterable[str], others: Mapping[str, str]) -> str:
    """One of the names, or what to write instead; '' if nothing is near."""
    names = [candidate for candidate in names if candidate != name and not candidate.startswith("_")]
    given = snake(name).replace("-", "_")
    other = others.get(name, "") or others.get(given, "")
    for candidate in (given, *other.split()):
        if candidate in names:
            return candidate
    if others is OPTIONS and (elsewhere := _elsewhere(given, other, names)):
        return elsewhere
    if other and not other.replace(" ", "_").isidentifier():
        return other
    close = (get_close_matches(candidate, names, n=1, cutoff=0.6) for candidate in (name, given))
    return next((found[0] for found in close if found), "")


def _elsewhere(given: str, other: str, names: list[str]) -> str:
    """What to write for an option that does not exist where it was given; '' if nothing is known of it."""
    for marker, remedies in REMEDIES.items():
        if marker in names and given in remedies:
            return remedies[given]
    for marker, options, where in PLACES:
        meant = next((one for one in (given, *other.split()) if one in options.split()), "")
        if marker in names and meant:
            return where.format(meant)
    return ""


class Hinted:
    """A missing attribute raises an error that says what to write. Names that begin with ``_`` are looked up by
    ``copy``, ``pickle`` and the like, and are refused without a hint."""

    __slots__ = ()
    _foreign: ClassVar[Mapping[str, str]] = NO_OTHERS
    """The table for the class."""
    _mirrored: ClassVar[str] = ""
    """For the asyncio wrappers: the attribute that holds the wrapped object."""

    if not TYPE_CHECKING:  # so that a type checker reports a missing name

        def __getattr__(self, name: str) -> Any:
            cls = type(self)
            if name.startswith("_"):
                raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}")
            if hasattr(cls, name):
                return object.__getattribute__(self, name)  # a property raised AttributeError: raise that
            hint = self._hint(name)
            raise missing(f"{cls.__name__!r} object has no attribute {name!r}{hint}", name)

    def _hint(self, name: str) -> str:
        if self._mirrored:
            there = dir(getattr(self, self._mirrored))
            meant = name if name in there else meant_by(name, [*dir(self), *there], self._foreign)
            if meant in there and meant not in dir(self):
                return f"; write {meant!r} without 'aio': it contacts no server"
        return hint_for(name, dir(self), self._foreign)


def missing(message: str, name: str) -> AttributeError:
    """The error for a missing attribute. It carries the name and not the object, for which the interpreter would add a
    hint of its own."""
    return AttributeError(message, name=name)


def not_exported(module: str, name: str, names: Iterable[str]) -> Exception:
    """The error for a name that a module does not have, to be raised by its ``__getattr__``: an ImportError in
    ``from module import name``, which drops what an AttributeError says."""
    hint = "" if name.startswith("_") else hint_for(name, names, PACKAGE)
    if hint and _imports(sys._getframe(1).f_back):
        return ImportError(f"cannot import name {name!r} from {module!r}{hint}", name=module)
    return missing(f"module {module!r} has no attribute {name!r}{hint}", name)


def _imports(frame: FrameType | None) -> bool:
    """Whether it is at a ``from ... import``; None is a caller that is not Python code."""
    return frame is not None and frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]
