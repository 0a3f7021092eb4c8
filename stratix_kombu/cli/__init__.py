"""The command line: one file per command."""

from __future__ import annotations

import click

from stratix_kombu.cli.demo import demo


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="stratix-kombu")
def main() -> None:
    """Background jobs on Redis, Amazon SQS or RabbitMQ."""


main.add_command(demo)
