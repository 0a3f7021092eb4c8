"""Kombu's transport ``filesystem``: its folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kombu.transport import TRANSPORT_ALIASES

from stratix_kombu.errors import ConfigurationError

SCHEME = "stratix-filesystem"
"""Kombu refuses URLs that name a class, so the transport has a name of its own."""
FOLDER = "stratix-messages"
"""In the working folder; for a URL without a path."""


def with_folders(url: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The URL and options of a transport; those of ``filesystem`` with folders that are there.

    Messages are in the folder that the URL's path names, unless ``data_folder_in`` and ``data_folder_out`` say
    otherwise. Kombu would write into one folder and read from another. Raises ConfigurationError.
    """
    found = dict(options)
    scheme, _, rest = url.partition("://")
    if scheme != "filesystem":
        return url, found
    base = Path(unquote(urlsplit(url).path) or FOLDER)
    incoming, outgoing = found.get("data_folder_in"), found.get("data_folder_out")
    found["data_folder_in"] = incoming or outgoing or str(base / "messages")
    found["data_folder_out"] = outgoing or found["data_folder_in"]
    found.setdefault("control_folder", str(base / "control"))
    for key in ("data_folder_in", "data_folder_out", "control_folder", "processed_folder"):
        try:
            Path(found.get(key, found["data_folder_in"])).mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise ConfigurationError(f"{key!r}: {found[key]} cannot be a folder: {problem.strerror}") from problem
    TRANSPORT_ALIASES[SCHEME] = "stratix_kombu.drivers.filesystem:Transport"
    return f"{SCHEME}://{rest}", found
