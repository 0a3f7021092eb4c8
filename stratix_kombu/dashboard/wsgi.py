"""The dashboard as a WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stratix_kombu.dashboard.http import MAX_BODY, Request, Response, as_json, complete

if TYPE_CHECKING:
    from stratix_kombu.dashboard.core import Dashboard


class WsgiApp:
    """Mounted below ``SCRIPT_NAME``."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        response = self._respond(environ)
        reason = HTTPStatus(response.status).phrase
        headers = [("Content-Type", response.type), *response.headers]
        start_response(f"{response.status} {reason}", headers)
        return [response.body]

    def _respond(self, environ: dict[str, Any]) -> Response:
        try:
            length = int(environ.get("CONTENT_LENGTH") or 0)
        except ValueError:
            return complete(as_json({"error": "Content-Length is no number"}, 400))
        if not 0 <= length <= MAX_BODY:
            return complete(as_json({"error": f"a request may have {MAX_BODY} bytes"}, 413))
        return self._dashboard.respond(request_of(environ, environ["wsgi.input"].read(length) if length else b""))


def request_of(environ: dict[str, Any], body: bytes) -> Request:
    """The request. WSGI has paths as Latin-1, whatever they are."""
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or name == "CONTENT_TYPE"
    }
    path = environ.get("PATH_INFO", "").encode("latin-1").decode(errors="replace")
    return Request(
        method=environ["REQUEST_METHOD"],
        path=path,
        query=environ.get("QUERY_STRING", ""),
        headers=headers,
        body=body,
        prefix=quote(environ.get("SCRIPT_NAME", "").rstrip("/"), encoding="latin-1"),
        native=environ,
        peer=environ.get("REMOTE_ADDR", ""),
    )
