"""Flask: an extension as others are, handlers within the context of the Flask application, ``flask stratix``.

>>> from stratix_kombu import Handlers
>>> from stratix_kombu.integrations.flask import Stratix
>>> handlers = Handlers()
>>> jobs = Stratix(handlers)
>>> jobs.init_app(flask_app)  # in the factory  # doctest: +SKIP
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
from flask import Flask, Response, current_app, request
from flask.cli import ScriptInfo, pass_script_info

from stratix_kombu.application import Application, create_app
from stratix_kombu.cli import main
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.queue.manager import QueueManager
from stratix_kombu.registry import Handlers

if TYPE_CHECKING:
    from stratix_kombu.dashboard import Dashboard

NAME = "stratix"
APPLICATION = "stratix_kombu.integrations.flask:application"


class Stratix:
    """Background jobs of a Flask application: made at the top level of a module, with the handlers that were declared,
    and given the application by ``init_app``."""

    def __init__(self, *handlers: Handlers) -> None:
        self._handlers = handlers

    def init_app(self, app: Flask) -> Application:
        """Make the application of jobs from ``app.config["STRATIX"]``, what ``create_app`` takes. Handlers run within
        ``app.app_context()``. Raises ConfigurationError if this Flask application has one."""
        if NAME in app.extensions:
            raise ConfigurationError("init_app was called for this Flask application already")
        made = app.extensions[NAME] = create_app(app.config.get("STRATIX"))
        made.middleware("run", lambda job: app.app_context())
        made.include(*self._handlers)
        app.cli.add_command(_command)
        return made

    @property
    def app(self) -> Application:
        """The application of jobs of the Flask application whose context this is."""
        if NAME not in current_app.extensions:
            raise ConfigurationError(f"init_app was not called for {current_app.name!r}")
        found: Application = current_app.extensions[NAME]
        return found

    @property
    def queue(self) -> QueueManager:
        """Its queues: ``jobs.queue.get_queue("mail").add(...)``."""
        return self.app.queue


def mount(app: Flask, dashboard: Dashboard, path: str = "/jobs") -> None:
    """Show the dashboard below a path of a Flask application. ``authorize`` is called in the context of the request, so
    it may use ``flask.session`` or ``flask_login.current_user``.

    >>> mount(flask_app, Dashboard(jobs, authorize=lambda request: session.get("user")), "/jobs")  # doctest: +SKIP
    """
    from stratix_kombu.dashboard.http import MAX_BODY
    from stratix_kombu.dashboard.wsgi import request_of

    def show(page: str = "") -> Response:
        request.max_content_length = MAX_BODY  # a larger one is answered with 413
        asked = request_of(request.environ, request.get_data())
        asked.path, asked.prefix = f"/{page}", asked.prefix + quote(path.rstrip("/"))
        made = dashboard.respond(asked)
        return Response([made.body], made.status, made.headers, content_type=made.type)  # a list: the length is given

    root = path.rstrip("/")
    for rule in (f"{root}/", f"{root}/<path:page>"):
        app.add_url_rule(rule, f"stratix{root}", show, methods=["GET", "POST"])


def application() -> Application:
    """The application of jobs of the Flask application that ``FLASK_APP`` names."""
    found: Application = ScriptInfo(os.environ.get("FLASK_APP")).load_app().extensions[NAME]
    return found


@click.command(NAME, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_script_info
def _command(info: Any, arguments: tuple[str, ...]) -> None:
    """Workers, queues and jobs: what 'stratix-kombu' does, for this application."""
    if info.app_import_path:
        os.environ["FLASK_APP"] = info.app_import_path  # for each process of a worker
    sys.argv[1:] = ["--app", APPLICATION, *arguments]
    main(sys.argv[1:], prog_name="flask stratix")
