"""Who may see and do what; requests from other sites; the headers of every answer."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from stratix_kombu.dashboard.http import Refused, Request, Response

Authorize = Callable[[Request], Any]
May = Callable[[Any, str, str], object]

ACTIONS: Mapping[str, str] = {
    "view": "see a queue and its jobs",
    "add": "add a job, or a copy of one",
    "retry": "run failed or completed jobs again",
    "cancel": "cancel jobs",
    "promote": "run delayed jobs now",
    "change": "change a job's data, delay or priority",
    "remove": "delete jobs",
    "pause": "pause and resume a queue",
    "limit": "change a queue's limiter and concurrency",
    "clean": "drain and clean a queue",
    "obliterate": "delete a queue with all its jobs",
    "redrive": "send dead letters back",
    "schedule": "run, pause, change and remove repeatable jobs",
    "workers": "control Celery workers",
}
"""What ``may`` is asked about."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


def check_origin(request: Request) -> None:
    """Whether a change was asked for by a page of the dashboard itself. Raises Refused.

    Browsers say where a request comes from (``Sec-Fetch-Site``, and ``Origin`` where the connection is not trusted). A
    program says nothing; it sends JSON, which a page of another site cannot without being asked about first."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        allowed = site == "same-origin"
    elif origin is not None:
        allowed = urlsplit(origin).netloc == request.headers.get("host", "") != ""
    else:
        allowed = request.is_json
    if not allowed:
        raise Refused(403, "the request came from another site: nothing was changed")


def password(passwords: Mapping[str, str]) -> Authorize:
    """An ``authorize`` that asks for a name and a password, by HTTP's Basic authentication.

    >>> Dashboard(app, authorize=password({"ops": os.environ["OPS_PASSWORD"]}))  # doctest: +SKIP
    """

    def authorize(request: Request) -> str | Response:
        name, given = _basic(request.headers.get("authorization", ""))
        kept = passwords.get(name)
        if kept is not None and _same(given, kept):
            return name
        return Response(
            401,
            b"A name and a password are needed.\n",
            "text/plain; charset=utf-8",
            [("WWW-Authenticate", 'Basic realm="stratix", charset="UTF-8"')],
        )

    return authorize


def token(token: str, user: str = "token") -> Authorize:
    """An ``authorize`` for whoever sends ``Authorization: Bearer TOKEN``, as proxies and programs do; a browser may
    send it as the password of any name."""

    def authorize(request: Request) -> str | Response:
        given = request.headers.get("authorization", "")
        if given.lower().startswith("bearer ") and _same(given[7:].strip(), token):
            return user
        name, word = _basic(given)
        return (name or user) if word and _same(word, token) else password({})(request)

    return authorize


def local_only(request: Request) -> str | None:
    """An ``authorize`` for a server that listens on the loopback interface: whoever is on this machine. A page of
    another site whose name was made to point here is refused, by the name it was asked for."""
    name = urlsplit(f"//{request.headers.get('host', '')}").hostname
    return "local" if name in ("localhost", "127.0.0.1", "::1") else None


def _basic(header: str) -> tuple[str, str]:
    kind, _, coded = header.partition(" ")
    if kind.lower() != "basic":
        return "", ""
    try:
        name, _, word = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return name, word


def _same(given: str, kept: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), kept.encode())
