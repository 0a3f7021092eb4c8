"""``manage.py stratix ...``: the command line of the package, about the application of this project."""

from __future__ import annotations

import sys

from django.core.management.base import BaseCommand

from stratix_kombu.cli import main

APPLICATION = "stratix_kombu.integrations.django.application:application"


class Command(BaseCommand):
    """Passes all arguments on, options and ``--help`` too."""

    help = "Workers, queues and jobs: what 'stratix-kombu' does, for the application of this project."

    def run_from_argv(self, argv: list[str]) -> None:
        """Called by Django with the whole command line."""
        self._call(argv[2:])

    def handle(self, *arguments: str, **_: object) -> None:
        """Called by ``call_command("stratix", ...)``."""
        self._call(list(arguments))

    def _call(self, arguments: list[str]) -> None:
        # A worker with several processes starts each of them by this line.
        sys.argv[1:] = ["--app", APPLICATION, *arguments]
        main(sys.argv[1:], prog_name="manage.py stratix")
