"""The command line: one file per noun.

``celery`` loads this package, for its own command ``stratix``, whatever it does: files are imported when their commands
are used.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from stratix_kombu.cli.commands import EXIT_CODES, Commands
from stratix_kombu.cli.lookup import HINT, application_options, remember, remember_application

COMPLETION = """\b
Shell completion (bash; or zsh, fish):
  eval "$(_STRATIX_KOMBU_COMPLETE=bash_source stratix-kombu)\""""
INSPECTION = {
    "check": "check",
    "queues": "queues",
    "jobs": "jobs",
    "reasons": "reasons",
    "workers": "workers",
    "job": "job",
    "bulk": "bulk",
    "flow": "flow",
    "repeat": "repeat",
    "pause": "queues",
    "resume": "queues",
    "drain": "housekeeping",
    "clean": "housekeeping",
    "obliterate": "housekeeping",
    "dead-letters": "dead_letters",
    "events": "events",
    "metrics": "metrics",
    "health": "health",
    "dashboard": "dashboard",
    "leave": "leave",
    "store": "store",
}
"""Commands about an application's jobs, whichever host runs them, and the file of each."""


@click.group(
    cls=Commands,
    homes={"worker": "worker", "beat": "worker", "demo": "demo", "new": "new", **INSPECTION},
    epilog=f"{HINT}\n\n{EXIT_CODES}\n\n{COMPLETION}",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="stratix-kombu")
@application_options
@click.pass_context
def main(context: click.Context, reference: str | None, config: Path | None) -> None:
    """Background jobs on Redis, PostgreSQL, SQLite, Amazon SQS or RabbitMQ.

    \b
    Start with:
      stratix-kombu demo                              see it work, with nothing configured
      stratix-kombu worker --app shop.jobs:app        run the handlers of your module
      stratix-kombu queues --app shop.jobs:app        see what is in the queues
      stratix-kombu check --app shop.jobs:app         what is configured, and whether it works
      stratix-kombu new shop                          write a small project to begin with

    Output in a pipe is plain text, one item per line, without colours. Many commands offer --json.
    """
    if "NO_COLOR" in os.environ:
        context.color = False
    remember(context, reference, config)


@click.group("stratix", cls=Commands, homes={"worker": "worker", **INSPECTION}, epilog=EXIT_CODES)
@click.pass_context
def celery_stratix(context: click.Context) -> None:
    """Jobs, flows and queues of stratix_kombu, of an application with the bridge: 'celery -A proj stratix queues'."""
    remember_application(context, context.obj.app)
