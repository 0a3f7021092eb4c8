"""What the metrics port answers by path: metrics, and two probes for whatever runs the process, such as Kubernetes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakKeyDictionary, proxy

from stratix_kombu.health import WITHIN_MS
from stratix_kombu.metrics.collector import Observed

if TYPE_CHECKING:
    from stratix_kombu.health import Health

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Answer = tuple[bool, dict[str, Any]]


class Probed(Observed, Protocol):
    """What the probes need of an ``Application``."""

    def check_health(self, within: int = ..., /) -> Health: ...

    def hook(self, name: Literal["before_close", "before_start"], function: Callable[[], object], /) -> object: ...


def pages(app: Probed, metrics: Wsgi) -> Wsgi:
    """A WSGI application: ``/metrics``, ``/healthz`` and ``/readyz``; 404 for any other path."""
    probes = {"/healthz": _health_of(app).alive, "/readyz": _health_of(app).ready}

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return metrics(environ, start_response)
        if path not in probes:
            return _text(start_response, "404 Not Found", {"pages": ["/metrics", *probes]})
        well, said = probes[path]()
        return _text(start_response, "200 OK" if well else "503 Service Unavailable", said)

    return answer


def _text(start_response: Callable[..., Any], status: str, said: dict[str, Any]) -> Iterable[bytes]:
    body = (json.dumps(said) + "\n").encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _health_of(app: Probed) -> _Health:
    if app not in _healths:
        _healths[app] = _Health(app)
    return _healths[app]


class _Health:
    """What the probes ask."""

    def __init__(self, app: Probed) -> None:
        self._app = proxy(app)
        self._closing = False
        self._within = WITHIN_MS
        app.hook("before_close", lambda: self._tell(closing=True))
        app.hook("before_start", lambda: self._tell(closing=False))

    def _tell(self, closing: bool) -> None:
        self._closing = closing

    def alive(self) -> Answer:
        """Whether to start the process again would not help: it takes jobs, or it could not, since the broker or the
        store does not answer, or it is being closed."""
        health = self._app.check_health(self._within)
        away = not (health.driver and health.store)
        return health.ok or away or self._closing, {"ok": health.ok, "problems": list(health.problems)}

    def ready(self) -> Answer:
        """Whether it takes jobs now."""
        health = self._app.check_health(self._within)
        problems = [*health.problems, *(["the application is being closed"] if self._closing else [])]
        return not problems, {"ok": not problems, "problems": problems}


_healths: WeakKeyDictionary[Probed, _Health] = WeakKeyDictionary()
"""One of each application, however often it is served: it has hooks there."""
