"""What a page is asked and what it answers, without a framework."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from stratix_kombu.model.codec import read_json

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a form or JSON body that are read: the data of a new job, and some room."""
MAX_FIELDS = 5_000
"""Fields of a form, and of the query: so many jobs may be selected at once, and more."""

_NUMBER = re.compile("[0-9]{1,15}")

HTML, JSON, TEXT = "text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"


class Refused(Exception):
    """The request is answered with a status and a sentence."""

    def __init__(self, status: int, problem: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.status, self.problem, self.headers = status, problem, tuple(headers)
        super().__init__(problem)


@dataclass(slots=True)
class Request:
    """One request, as an adapter makes it. ``headers`` have names in lower case."""

    method: str
    path: str
    """Below the prefix, beginning with a slash, decoded."""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    prefix: str = ""
    """The path below which the dashboard is mounted, without a slash at its end, encoded."""
    native: Any = None
    """What the host calls the request: WSGI's ``environ``, ASGI's ``scope``, Django's ``HttpRequest``."""
    peer: str = ""
    """The address of the other end, which may be a proxy."""
    streams: bool = False
    """Whether an answer may be sent while it is made, as ASGI can without occupying a thread."""
    _given: dict[str, list[str]] | None = None
    _form: dict[str, list[str]] | None = None
    _said: dict[str, Any] | None = None

    @property
    def given(self) -> dict[str, list[str]]:
        """The fields of the query. Raises Refused."""
        if self._given is None:
            self._given = _fields(self.query)
        return self._given

    @property
    def form(self) -> dict[str, list[str]]:
        """The fields of a form. Raises Refused."""
        if self._form is None:
            self._form = {} if self.is_json else _fields(_decoded(self.body))
        return self._form

    @property
    def said(self) -> dict[str, Any]:
        """The fields of a JSON body. Raises Refused."""
        if self._said is None:
            self._said = _json_object(self.body) if self.is_json else {}
        return self._said

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON

    def get(self, name: str, default: str = "") -> str:
        """One field of the query."""
        return self.given.get(name, [default])[0]

    def field(self, name: str) -> str:
        """One field of the body as text; '' for one that is missing, or null. Raises Refused."""
        if not self.is_json:
            return self.form.get(name, [""])[0]
        value = self.said.get(name)
        return value if isinstance(value, str) else "" if value is None else json.dumps(value)

    def value(self, name: str) -> Any:
        """One value, which a form writes as JSON, and which is in a JSON body as it is; None for one that is missing.
        Raises Refused."""
        if self.is_json:
            return self.said.get(name)
        try:
            return read_json(self.field(name) or "null")
        except ValueError as problem:
            raise Refused(400, f"{name!r} is not JSON: {problem}") from problem

    def has(self, name: str) -> bool:
        """Whether there is such a value; a form sends all of its fields, and leaves some empty."""
        return name in self.said if self.is_json else bool(self.field(name))

    def flag(self, name: str) -> bool:
        """Whether a box was ticked, or what a JSON body says. Raises Refused."""
        value = self.said.get(name, False) if self.is_json else bool(self.field(name))
        if not isinstance(value, bool):
            raise Refused(400, f"{name!r} must be true or false, not {json.dumps(value)}")
        return value

    def url(self, path: str, **query: object) -> str:
        """The URL of a page of the dashboard; fields that are empty or None are left out."""
        said = {name: value for name, value in query.items() if value not in ("", None)}
        return f"{self.prefix}{quote(path)}" + (f"?{urlencode(said, errors='replace')}" if said else "")


@dataclass(slots=True)
class Response:
    """The answer to a request."""

    status: int = 200
    body: bytes = b""
    type: str = HTML
    headers: list[tuple[str, str]] = field(default_factory=list)
    stream: AsyncIterator[str] | None = None
    """In place of the body, where the request said so."""


def as_json(value: Any, status: int = 200) -> Response:
    """An answer for programs. What cannot be encoded is escaped, as JSON can."""
    return Response(status, (json.dumps(value, default=str) + "\n").encode(), JSON)


def complete(response: Response, method: str = "") -> Response:
    """The answer with its length; to HEAD as to GET, but without what follows the headers, a stream too."""
    if response.stream is None:
        response.headers.append(("Content-Length", str(len(response.body))))
    if method == "HEAD":
        response.body, response.stream = b"", None
    return response


def redirect(url: str) -> Response:
    """To be seen at another URL, by GET."""
    return Response(303, b"", TEXT, [("Location", url)])


def number(text: str) -> int | None:
    """A natural number that a field says; None for anything else."""
    return int(text) if _NUMBER.fullmatch(text) else None


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as problem:
        raise Refused(400, "the form is not UTF-8") from problem


def _fields(text: str) -> dict[str, list[str]]:
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace")
    except ValueError as problem:
        raise Refused(400, "the request has too many fields") from problem


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        given = read_json(body or b"{}")
    except ValueError as problem:
        raise Refused(400, "the body is not JSON") from problem
    if not isinstance(given, dict):
        raise Refused(400, "the body must be a JSON object")
    return given
