"""``dashboard``: the pages about queues and jobs, served alone."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from stratix_kombu.cli.commands import with_options
from stratix_kombu.cli.logs import configure, logging_options, say
from stratix_kombu.cli.lookup import with_application
from stratix_kombu.errors import ConfigurationError

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.dashboard.security import Authorize


@dataclass(frozen=True, kw_only=True)
class Served:
    """The options of ``dashboard``."""

    host: str
    port: int
    user: str
    password: str | None
    token: str | None
    read_only: bool


@click.command("dashboard", short_help="Web pages that show queues and jobs.")
@with_application
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8077, show_default=True, type=click.IntRange(0, 65535), help="0 is a free one.")
@click.option("--user", default="admin", show_default=True, help="The name that belongs to the password.")
@click.option("--password", envvar="STRATIX_DASHBOARD_PASSWORD", help="Ask for it. Also STRATIX_DASHBOARD_PASSWORD.")
@click.option("--token", envvar="STRATIX_DASHBOARD_TOKEN", help="A bearer token. Also STRATIX_DASHBOARD_TOKEN.")
@click.option("--read-only", is_flag=True, help="Show, and change nothing.")
@logging_options
@with_options(Served)
def dashboard(app: Application, log_level: str | None, log_format: str, options: Served) -> None:
    """Web pages that show queues and jobs, and let you retry, cancel, remove, pause, ...

    On 127.0.0.1 everybody on this machine may use them. Any other address needs a password or a token, best given in
    the environment, where other users cannot read it; put TLS in front of it. To mount the pages into your own web
    application, behind its login, see the guide.

    \b
    Examples:
      stratix-kombu -A shop.jobs:app dashboard
      STRATIX_DASHBOARD_PASSWORD=... stratix-kombu dashboard --host 0.0.0.0 --read-only
      celery -A proj stratix dashboard
    """
    from stratix_kombu.dashboard import Dashboard
    from stratix_kombu.dashboard.server import serve

    configure(log_level, log_format)  # who did what is logged
    board = Dashboard(app, authorize=_authorize(options), read_only=options.read_only)
    server = serve(board, options.host, options.port)
    shown = f"[{options.host}]" if ":" in options.host else options.host
    say(f"dashboard of {app.queue.describe()} at http://{shown}:{server.server_port}/ (Ctrl-C ends it)")
    ended = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
    threading.Thread(target=server.serve_forever, name="stratix-dashboard", daemon=True).start()
    try:
        ended.wait()
    finally:
        server.shutdown()
        server.server_close()


def _authorize(options: Served) -> Authorize:
    """Who may see the pages. Raises ConfigurationError."""
    from stratix_kombu.dashboard import local_only, password, token
    from stratix_kombu.dashboard.server import is_loopback

    if options.password == "" or options.token == "":
        raise ConfigurationError("dashboard: the password or token is empty")
    if options.token:
        return token(options.token)
    if options.password:
        return password({options.user: options.password})
    if not is_loopback(options.host):
        raise ConfigurationError(
            f"dashboard: on {options.host} others can reach it: set a password (STRATIX_DASHBOARD_PASSWORD) or a token "
            "(STRATIX_DASHBOARD_TOKEN), or listen on 127.0.0.1"
        )
    return local_only
