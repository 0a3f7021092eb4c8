"""The URL of a file, and its options."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from stratix_kombu.errors import ConfigurationError, nearest
from stratix_kombu.model.given import milliseconds, query_options
from stratix_kombu.model.names import snake

OLDEST = (3, 35, 0)
TIMEOUT_MS = 5_000
KNOWN = ("synchronous", "timeout")
_SYNCHRONOUS = ("full", "normal", "off")
_NETWORK = re.compile(r"nfs|cifs|smb|afs|ceph|gluster|lustre|sshfs|9p|gfs|ocfs|beegfs|davfs")
_MOUNTS = "/proc/self/mountinfo"


@dataclass(frozen=True, slots=True)
class SqliteOptions:
    """Where the file is, and how it is written."""

    path: str
    address: str
    synchronous: str = "full"
    """``full``: what was committed survives a power cut. ``normal``: a power cut may undo the last commits, the end of
    a process does not. ``off``: a power cut may spoil the file."""
    timeout_ms: int = TIMEOUT_MS
    """How long a step waits for those of other processes."""


def read_options(given: Mapping[str, Any]) -> SqliteOptions:
    """The options of ``sqlite:///jobs.db?synchronous=normal``. Raises ConfigurationError."""
    url = str(given["url"])
    path, _, query = url.removeprefix("sqlite:").partition("?")
    if not path.startswith("///") or not path[3:].strip("/"):
        raise ConfigurationError(
            f"{url!r} names no file: write 'sqlite:///jobs.db', or 'sqlite:////var/lib/jobs.db' for an absolute path"
        )
    path = unquote(path[3:])
    if path == ":memory:":
        raise ConfigurationError(
            "a store in memory is 'memory://': every connection of SQLite would have one of its own"
        )
    options = query_options(query, "the URL of the SQLite store")
    options |= {snake(key): value for key, value in given.items() if key != "url"}
    for key in options:
        if key not in KNOWN:
            raise ConfigurationError(f"unknown option {key!r} of the SQLite store{nearest(key, KNOWN)}")
    synchronous = str(options.get("synchronous", "full")).lower()
    if synchronous not in _SYNCHRONOUS:
        raise ConfigurationError(
            f"the SQLite store: 'synchronous' must be full, normal or off, not {synchronous!r}"
            f"{nearest(synchronous, _SYNCHRONOUS)}"
        )
    full = os.path.abspath(path)
    _check(full)
    return SqliteOptions(full, f"sqlite:///{path}", synchronous, _timeout(options.get("timeout", TIMEOUT_MS)))


def _timeout(value: Any) -> int:
    value = float(value) if isinstance(value, str) and re.fullmatch(r"[0-9.]+", value) else value
    return max(milliseconds(value, "the SQLite store: 'timeout'"), 1)


def _check(path: str) -> None:
    if sqlite3.sqlite_version_info < OLDEST:
        needed = ".".join(map(str, OLDEST[:2]))
        raise ConfigurationError(
            f"the SQLite store needs SQLite {needed} or newer, and this Python has {sqlite3.sqlite_version}"
        )
    if os.path.isdir(path):
        raise ConfigurationError(f"the SQLite store: {path!r} is a folder: name a file in it")
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise ConfigurationError(f"the SQLite store: there is no folder {folder!r}")
    kind = file_system(folder)
    if _NETWORK.search(kind):
        raise ConfigurationError(
            f"the SQLite store: {folder!r} is on a network file system ({kind}), where SQLite cannot lock: use a disk "
            "of this host, or another store for several hosts"
        )


def file_system(folder: str, mounts: str = _MOUNTS) -> str:
    """The kind of file system that a folder is on; '' where that is not known."""
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    folder = os.path.realpath(folder)
    best, kind = "", ""
    for line in lines:
        mount, _, source = line.partition(" - ")
        point = mount.split()[4].replace("\\040", " ")
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, source.split()[0]
    return kind
