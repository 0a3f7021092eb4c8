"""The page ``/metrics``: for a WSGI server, or with a small server of its own, which has probes beside it."""

from __future__ import annotations

import logging
import socket
import threading
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app

from stratix_kombu import forks
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.metrics.collector import Observed, StratixCollector
from stratix_kombu.metrics.pages import Probed, pages
from stratix_kombu.model.text import host_and_port

if TYPE_CHECKING:
    from types import TracebackType

logger = logging.getLogger("stratix_kombu")


def _registry(app: Observed) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(StratixCollector(app))
    return registry


def metrics_app(app: Observed) -> Any:
    """A WSGI application with the metrics of all queues, in the format the asker wants (text or OpenMetrics).

    >>> application = metrics_app(create_app("stratix.toml"))  # gunicorn metrics:application  # doctest: +SKIP
    """
    return make_wsgi_app(_registry(app))


def metrics_text(app: Observed) -> str:
    """The page as text, for a push gateway or a file that the node exporter collects.

    >>> print(metrics_text(create_app("stratix.toml")))  # doctest: +SKIP
    """
    return generate_latest(_registry(app)).decode()


class MetricsServer:
    """A server of the page in a thread of this process; also a context manager that stops it."""

    def __init__(self, server: WSGIServer, thread: threading.Thread) -> None:
        self._server = server
        self._thread = thread
        self._inherited = False
        self.port: int = server.server_port
        forks.register(self)

    def after_fork(self) -> None:
        """The parent serves; its port must be free when it has ended."""
        self._inherited = True
        forks.close_copy(self._server.socket)

    def stop(self) -> None:
        """Answer nobody any more."""
        if self._inherited:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(app: Probed, port: int, host: str = "0.0.0.0") -> MetricsServer:
    """Serve ``/metrics``, ``/healthz`` and ``/readyz`` until ``stop``; port 0 is a free one. Raises ConfigurationError
    if it cannot listen there.

    >>> with serve(app, 9100) as server: ...  # doctest: +SKIP
    """
    try:
        server = make_server(host, port, pages(app, metrics_app(app)), _SixServer if ":" in host else _Server, _Quiet)
    except OSError as problem:
        raise ConfigurationError(
            f"metrics: cannot listen on {host_and_port(host, port)}: {problem.strerror}"
        ) from problem
    thread = threading.Thread(target=server.serve_forever, name="stratix-metrics", daemon=True)
    thread.start()
    return MetricsServer(server, thread)


def serve_where_free(app: Probed, port: int, host: str) -> MetricsServer | None:
    """``serve``; None if it cannot listen there: most likely another worker of this host does, and each of them serves
    the same metrics."""
    try:
        return serve(app, port, host)
    except ConfigurationError as taken:
        logger.warning("%s", taken, extra={"action": "metrics_not_served"})
        return None


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request: a scrape that is slow must not hold up a probe."""

    daemon_threads = True


class _SixServer(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    """Writes no line for each request."""

    def log_message(self, format: str, *arguments: Any) -> None:
        pass
