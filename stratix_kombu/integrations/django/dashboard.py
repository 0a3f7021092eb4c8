"""The dashboard in a Django project: in the admin, where it appears by itself, or at a path of your own.

>>> from stratix_kombu.integrations.django.dashboard import urls
>>> urlpatterns = [path("ops/jobs/", urls())]  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_protect

from stratix_kombu.dashboard import Dashboard, Request, Response
from stratix_kombu.dashboard.http import MAX_BODY
from stratix_kombu.integrations.django import get_app

VIEW, CHANGE = "stratix.view_queues", "stratix.change_queues"
"""The permissions, of the admin's kind."""


def authorize(request: Request) -> Any:
    """The user who has logged in, if it is one of the staff who may see queues; others are sent to the login."""
    user = getattr(request.native, "user", None)
    if user is None or not user.is_authenticated:
        from django.contrib.auth.views import redirect_to_login  # not each project has users

        return Response(302, headers=[("Location", redirect_to_login(request.native.get_full_path())["Location"])])
    return user if user.is_active and user.is_staff and user.has_perm(VIEW) else None


def may(user: Any, action: str, queue: str) -> bool:
    """By the permissions of the user: to view, or to change."""
    return bool(user.has_perm(VIEW if action == "view" else CHANGE))


@cache
def board() -> Dashboard:
    """The dashboard of the project. The setting ``STRATIX_DASHBOARD`` has arguments of ``Dashboard``; a function may be
    given by its dotted path. Raises ImproperlyConfigured."""
    given = getattr(settings, "STRATIX_DASHBOARD", None) or {}
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"STRATIX_DASHBOARD must be a mapping, not {type(given).__name__}")
    functions = ("authorize", "may", "redact", "audit")
    said = {
        name: import_string(value) if name in functions and isinstance(value, str) else value
        for name, value in given.items()
    }
    try:
        return Dashboard(get_app(), **{"authorize": authorize, "may": may, **said})
    except TypeError as problem:
        raise ImproperlyConfigured(f"STRATIX_DASHBOARD: {problem}") from problem


def urls(dashboard: Dashboard | None = None) -> tuple[list[Any], str, str]:
    """What ``path`` and ``include`` take, for a path that ends in a slash. By default it is the dashboard of the
    project, for those of the staff who have its permissions."""
    view = csrf_protect(partial(show, dashboard=dashboard))
    return [path("", view, name="dashboard"), path("<path:page>", view)], "stratix", "stratix"


def show(request: HttpRequest, page: str = "", *, dashboard: Dashboard | None = None) -> HttpResponse:
    """A view. Django has checked its own token, so where the request comes from is known."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > MAX_BODY:
        return HttpResponse(status=413)
    asked = Request(
        method=request.method or "GET",
        path=f"/{page}",
        query=request.META.get("QUERY_STRING", ""),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=_body(request),
        prefix=quote(request.path[: len(request.path) - len(page)].rstrip("/")),
        native=request,
        peer=request.META.get("REMOTE_ADDR", ""),
    )
    made = (dashboard or board()).respond(asked, token=get_token(request), origin_checked=True)
    response = HttpResponse(made.body, status=made.status, content_type=made.type)
    for name, value in made.headers:
        response[name] = value
    return response


def _body(request: HttpRequest) -> bytes:
    """A form was read by the check of the token."""
    if request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        form: str = request.POST.urlencode()
        return form.encode()
    body: bytes = request.body
    return body
