"""Requests to a dashboard in this process."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urlencode

from stratix_kombu.dashboard import Dashboard, Request, Response

SAME_SITE = {"sec-fetch-site": "same-origin"}
PROGRAM = {"content-type": "application/json"}


@dataclass
class Asking:
    """Somebody who looks at a dashboard."""

    board: Dashboard
    headers: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""

    def get(self, path: str, **query: Any) -> Response:
        return self.board.respond(
            Request("GET", path, urlencode(query), headers={**self.headers}, prefix=self.prefix, peer="192.0.2.7")
        )

    def post(self, path: str, headers: Mapping[str, str] = SAME_SITE, **fields: Any) -> Response:
        body = urlencode(fields, doseq=True).encode()
        kind = {"content-type": "application/x-www-form-urlencoded"}
        given = {**self.headers, **kind, **headers}
        return self.board.respond(Request("POST", path, headers=given, body=body, prefix=self.prefix, peer="192.0.2.7"))

    def ask(self, path: str, **query: Any) -> Any:
        """What a program is answered."""
        response = self.get(f"/api{path}", **query)
        assert response.type == "application/json"
        return json.loads(response.body)

    def tell(self, path: str, **fields: Any) -> Any:
        """What a program is answered that changes something."""
        body = json.dumps(fields).encode()
        headers = {**self.headers, **PROGRAM}
        return self.board.respond(Request("POST", f"/api{path}", headers=headers, body=body, prefix=self.prefix))


def header(response: Response, name: str) -> str:
    return next((value for key, value in response.headers if key == name), "")


def text_of(response: Response) -> str:
    """What a page says, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.body.decode())).split())
