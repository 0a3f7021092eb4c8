"""A server in front of moto that counts the requests, refuses what a policy does not allow, and fails on demand."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """One request as it came over the wire."""

    action: str
    body: str
    headers: dict[str, str]

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Front:
    """What the server does with requests; may be changed while it runs."""

    url: str = ""
    denied: set[str] = field(default_factory=set)
    """Actions that are answered with AccessDenied."""
    fault: Callable[[Request], tuple[int, str] | None] = lambda request: None
    """Status and error code to answer a request with, or None."""
    requests: list[Request] = field(default_factory=list)
    change_answer: Callable[[Request, bytes], bytes] = lambda request, answer: answer

    @property
    def calls(self) -> Counter[str]:
        """How often each action was asked for."""
        return Counter(one.action for one in self.requests)

    def problem(self, request: Request) -> tuple[int, str] | None:
        if request.action in self.denied:
            return 403, "AccessDenied"
        return self.fault(request)


@contextmanager
def front_of(moto: str) -> Iterator[Front]:
    """A running server in front of the one at ``moto``."""
    front = Front()
    target = urlsplit(moto)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(_action(self.headers.get("X-Amz-Target"), body), body.decode(), dict(self.headers))
            front.requests.append(request)
            problem = front.problem(request)
            with suppress(BrokenPipeError, ConnectionResetError):  # a worker that has gone meanwhile
                if problem is not None:
                    self._answer(problem[0], *_error(problem[1], request, "X-Amz-Target" in self.headers))
                    return
                upstream = http.client.HTTPConnection(str(target.hostname), target.port, timeout=60)
                upstream.request("POST", self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                content = front.change_answer(request, answer.read())
                self._answer(answer.status, answer.headers.get("Content-Type", ""), content)
                upstream.close()

        def _answer(self, status: int, content_type: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    front.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield front
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _action(target: str | None, body: bytes) -> str:
    """boto3 speaks JSON and names the action in a header; Kombu's event loop speaks the older query protocol."""
    if target:
        return target.rpartition(".")[2]
    return parse_qs(body.decode()).get("Action", [""])[0]


def _error(code: str, request: Request, is_json: bool) -> tuple[str, bytes]:
    token = re.sub(r"\s", "", request.headers.get("X-Amz-Security-Token", "none"))
    text = f"refused for this test; x-amz-security-token:{token} and so on"
    if is_json:
        answer = {"__type": f"com.amazonaws.sqs#{code}", "message": text}
        return "application/x-amz-json-1.0", json.dumps(answer).encode()
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error>"
    return "text/xml", f"<ErrorResponse>{error}</ErrorResponse>".encode()
