"""The style sheet and the scripts, which are the same for everybody."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from stratix_kombu.dashboard.http import Response

TYPES = {
    "style.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def find(path: str) -> Response | None:
    """The file at a path of the dashboard; None for any other path."""
    name = path.removeprefix("/static/") if path.startswith("/static/") else ""
    if name not in TYPES:
        return None
    # The version is in the URL, so a browser need not ask again.
    return Response(200, _read(name), TYPES[name], [("Cache-Control", "public, max-age=31536000, immutable")])


@cache
def version() -> str:
    """Changes with the files."""
    return hashlib.sha256(b"".join(map(_read, TYPES))).hexdigest()[:12]


@cache
def _read(name: str) -> bytes:
    return files("stratix_kombu.dashboard").joinpath("static", name).read_bytes()
