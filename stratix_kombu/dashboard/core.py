"""The dashboard: a request in, a response out. It keeps nothing between two requests."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from stratix_kombu.dashboard import assets, openapi
from stratix_kombu.dashboard.audit import Audit
from stratix_kombu.dashboard.http import HTML, Refused, Request, Response, as_json, complete, redirect
from stratix_kombu.dashboard.reading import now_ms
from stratix_kombu.dashboard.redaction import Redact, Redaction
from stratix_kombu.dashboard.rendering import render
from stratix_kombu.dashboard.routes import API, ROUTES, Answer
from stratix_kombu.dashboard.security import HEADERS, Authorize, May, check_origin
from stratix_kombu.dashboard.site import Done, Page, Site, Visit
from stratix_kombu.errors import (
    Closed,
    InvalidJobState,
    JobError,
    QueueNotEmpty,
    RepeatableJobNotFound,
    StratixError,
    Unavailable,
)

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.dashboard.asgi import AsgiApp
    from stratix_kombu.dashboard.wsgi import WsgiApp

logger = logging.getLogger("stratix_kombu.dashboard")

STATUSES: tuple[tuple[type[BaseException], int], ...] = (
    (InvalidJobState, 409),
    (QueueNotEmpty, 409),
    (RepeatableJobNotFound, 404),
    (LookupError, 404),
    (JobError, 409),
    (Unavailable, 503),
    (Closed, 503),
    (StratixError, 400),
)
"""The status for an error of the package."""


def everything(user: Any, action: str, queue: str) -> bool:
    """The default of ``may``."""
    return True


class Dashboard:
    """Pages about the queues of an application, to be mounted into a web application at any path.

    ``authorize(request)`` returns who it is, None for nobody (403), or a Response, such as a redirect to a login. There
    is no default: it must be said who may see the jobs. ``may(user, action, queue)`` says what that user may do, see
    ``ACTIONS``; ``read_only`` refuses all changes. ``redact(part, value, job)`` returns what may be shown of a job's
    ``data``, ``result``, ``progress``, ``logs``, ``error`` and ``headers``. ``audit(action)`` is called after each
    change with an ``Action``, which is logged too.

    >>> board = Dashboard(app, authorize=lambda request: "ops" if is_inside(request) else None)  # doctest: +SKIP
    >>> flask_app.wsgi_app = DispatcherMiddleware(flask_app.wsgi_app, {"/jobs": board.wsgi})  # doctest: +SKIP
    >>> fastapi_app.mount("/jobs", board.asgi)  # doctest: +SKIP
    """

    def __init__(
        self,
        app: Application,
        *,
        authorize: Authorize,
        may: May = everything,
        read_only: bool = False,
        redact: Redact | None = None,
        audit: Audit | None = None,
        title: str = "Stratix",
    ) -> None:
        self.site = Site(app, authorize, may, read_only, Redaction(redact), audit, title)

    @cached_property
    def wsgi(self) -> WsgiApp:
        """The dashboard as a WSGI application."""
        from stratix_kombu.dashboard.wsgi import WsgiApp

        return WsgiApp(self)

    @cached_property
    def asgi(self) -> AsgiApp:
        """The dashboard as an ASGI application; its pages are made in threads."""
        from stratix_kombu.dashboard.asgi import AsgiApp

        return AsgiApp(self)

    def respond(self, request: Request, *, token: str = "", origin_checked: bool = False) -> Response:
        """Answer a request, whatever happens. ``token`` is a field that the host wants in each form; it has checked the
        origin itself with ``origin_checked``."""
        programs = request.path == API or request.path.startswith(f"{API}/")
        try:
            response = self._respond(request, programs, token, origin_checked)
        except Exception as problem:
            response = self._refusal(request, problem, programs)
        response.headers += [*HEADERS, *([] if _has(response, "Cache-Control") else [("Cache-Control", "no-store")])]
        return complete(response, request.method)

    def _respond(self, request: Request, programs: bool, token: str, origin_checked: bool) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        path = (request.path.removeprefix(API) or "/") if programs else request.path
        if not programs and method == "GET" and (asset := assets.find(path)):
            return asset
        if path == "/healthz":
            return self._health()
        if method == "POST" and not origin_checked:
            check_origin(request)
        user = self.site.authorize(request)
        if isinstance(user, Response):
            return user
        if user is None or user is False:
            raise Refused(403, "you may not see this page")
        visit = Visit(self.site, request, user, programs, token)
        if path == "" and not programs:
            return redirect(f"{request.prefix}/")
        if programs and (method, path) == ("GET", "/openapi.json"):
            return as_json(openapi.document(request.prefix))
        page, given = self._page(method, path, programs)
        return self._shown(visit, page(visit, **given))

    def _page(self, method: str, path: str, programs: bool) -> tuple[Callable[..., Answer], dict[str, Any]]:
        """The page at a path, and what the path says to it. Raises Refused."""
        routes = [route for route in ROUTES if not (programs and route.people_only)]
        for route in routes:
            if (given := route.match(method, path)) is not None:
                return route.page, given
        allowed = sorted({route.method for route in routes if route.pattern.match(path)})
        if allowed:
            raise Refused(405, f"this path has {' and '.join(allowed)} only", [("Allow", ", ".join(allowed))])
        raise Refused(404, "there is no such page")

    def _shown(self, visit: Visit, answer: Answer) -> Response:
        if isinstance(answer, Response):
            return answer
        if isinstance(answer, Done):
            if visit.for_programs:
                return as_json({"action": answer.action, "count": answer.count, "job": answer.job or None})
            mark = "&" if "?" in answer.back else "?"
            return redirect(f"{visit.request.prefix}{answer.back}{mark}done={answer.action}&n={answer.count}")
        if visit.for_programs:
            return as_json(answer.data.to_dict(), answer.status)
        return Response(answer.status, render(answer.template, self._values(visit, answer)), HTML)

    def _values(self, visit: Visit, page: Page) -> dict[str, Any]:
        app, request = visit.app, visit.request
        kept = [
            (name, value) for name, values in request.given.items() for value in values if name not in ("done", "n")
        ]
        here = quote(request.path) + (f"?{urlencode(kept, errors='replace')}" if kept else "")
        return {
            "visit": visit,
            "url": visit.url,
            "asset": lambda name: f"{request.prefix}/static/{name}?{assets.version()}",
            "here": here,
            "there": request.prefix + here,
            "done": (request.get("done"), request.get("n")),
            "now": now_ms(),
            "namespace": app.queue.settings.namespace,
            "servers": app.queue.describe(),
            "data": page.data,
            **page.view,
        }

    def _health(self) -> Response:
        """Whether broker and store answer, for whatever runs the process. It says no more: nobody has logged in."""
        try:
            well = all(self.site.app.queue.check_health().values())
        except StratixError:
            well = False
        return as_json({"ok": well}, 200 if well else 503)

    def _refusal(self, request: Request, problem: Exception, programs: bool) -> Response:
        headers: list[tuple[str, str]] = []
        if isinstance(problem, Refused):
            status, said, headers = problem.status, problem.problem, list(problem.headers)
        else:
            status = next((status for kind, status in STATUSES if isinstance(problem, kind)), 500)
            said = str(problem)
        if status == 500:  # the details are for the log: they may hold anything
            said = "the dashboard could not make this page; its log says why"
            logger.error("dashboard: %r", request.path, exc_info=problem, extra={"action": "dashboard_failed"})
        if programs or request.is_json:
            response = as_json({"error": said}, status)
        else:
            values = {"status": status, "problem": said, "title": self.site.title, "home": f"{request.prefix}/"}
            for key, name in (("style", "style.css"), ("icon", "icon.svg")):
                values[key] = f"{request.prefix}/static/{name}?{assets.version()}"
            response = Response(status, render("error.html", values), HTML)
        response.headers += headers
        return response


def _has(response: Response, name: str) -> bool:
    return any(header == name for header, _ in response.headers)
