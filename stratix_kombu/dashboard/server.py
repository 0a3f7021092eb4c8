"""A small server of the dashboard alone, for ``stratix-kombu dashboard``."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from ipaddress import ip_address
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.text import host_and_port

if TYPE_CHECKING:
    from stratix_kombu.dashboard.core import Dashboard

REQUEST_S = 10
"""How long a connection may say nothing, so that one that is silent keeps its thread no longer."""
THREADS = 64
"""Requests that are answered at the same time; further ones wait."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def serve(dashboard: Dashboard, host: str, port: int) -> WSGIServer:
    """A server that listens, and answers once ``serve_forever`` is called. Raises ConfigurationError."""
    try:
        return make_server(host, port, dashboard.wsgi, _SixServer if ":" in host else _Server, _Handler)
    except OSError as problem:
        raise ConfigurationError(
            f"dashboard: cannot listen on {host_and_port(host, port)}: {problem.strerror}"
        ) from problem


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, so that several may look at the same time."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self._free = threading.BoundedSemaphore(THREADS)
        super().__init__(*arguments, **more)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._free.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class _SixServer(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    """Looks up no names, and writes no line for each request: actions are logged by the dashboard."""

    timeout = REQUEST_S

    def handle(self) -> None:
        """A browser opens connections before it needs them, and leaves them."""
        with suppress(TimeoutError, ConnectionError):
            super().handle()

    def address_string(self) -> str:
        return str(self.client_address[0])

    def log_message(self, format: str, *arguments: Any) -> None:
        pass
