"""What the metrics port answers by path: metrics, and two probes for whatever runs the process, such as Kubernetes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, TimeoutError as NotYet
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakKeyDictionary, proxy

from stratix_kombu import forks
from stratix_kombu.health import WITHIN_MS
from stratix_kombu.metrics.collector import Observed

if TYPE_CHECKING:
    from stratix_kombu.health import Health

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Answer = tuple[bool, dict[str, Any]]
PATIENCE_S = 0.5
"""How long the liveness probe waits for broker and store: half of what Kubernetes waits for the probe by default."""


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
        self._lock = threading.Lock()
        self._check: Future[Health] | None = None
        self._begun = 0.0
        forks.register(self)
        app.hook("before_close", lambda: self._tell(closing=True))
        app.hook("before_start", lambda: self._tell(closing=False))

    def after_fork(self) -> None:
        """The thread of a check that was under way stayed with the parent."""
        self._lock = threading.Lock()
        self._check = None

    def _tell(self, closing: bool) -> None:
        self._closing = closing

    def alive(self) -> Answer:
        """Whether to start the process again would not help: it takes jobs, or it could not, since the broker or the
        store does not answer, or it is being closed.

        A server that is frozen answers nothing, for as long as its timeouts are. Whoever probes does not wait for that,
        and would start the process again; so the probe does not wait for it either. A check that has not ended when
        all timeouts are over is held up by the process itself."""
        check = self._under_way()
        try:
            health = check.result(PATIENCE_S)
        except NotYet:
            seconds = time.monotonic() - self._begun
            problem = f"broker or store has not answered for {seconds:.1f} s"
            return seconds * 1000 <= self._within or self._closing, {"ok": False, "problems": [problem]}
        away = not (health.driver and health.store)
        return health.ok or away or self._closing, {"ok": health.ok, "problems": list(health.problems)}

    def ready(self) -> Answer:
        """Whether it takes jobs now."""
        health = self._app.check_health(self._within)
        problems = [*health.problems, *(["the application is being closed"] if self._closing else [])]
        return not problems, {"ok": not problems, "problems": problems}

    def _under_way(self) -> Future[Health]:
        """The check that has not ended yet, or else one that begins now: probes that come meanwhile share it."""
        with self._lock:
            if self._check is None or self._check.done():
                self._check, self._begun = Future(), time.monotonic()
                threading.Thread(target=self._run, args=(self._check,), name="stratix-health", daemon=True).start()
            return self._check

    def _run(self, check: Future[Health]) -> None:
        try:
            check.set_result(self._app.check_health(self._within))
        except BaseException as problem:
            check.set_exception(problem)


_healths: WeakKeyDictionary[Probed, _Health] = WeakKeyDictionary()
"""One of each application, however often it is served: it has hooks there."""
