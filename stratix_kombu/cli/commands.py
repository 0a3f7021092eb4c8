"""What all commands share: which errors end them with which exit code."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import click

from stratix_kombu.errors import JobError, QueueNotEmpty, RepeatableJobNotFound, StratixError, WaitTimeout

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130
EXIT_CODES = """\b
Exit codes:
  0    it was done
  1    no: not found, not possible in this state, not healthy, not confirmed
  2    wrong usage or configuration, or the store or broker cannot be reached
  130  ended by Ctrl-C"""


class Failed(click.ClickException):
    """The command was understood, and the answer is no."""

    exit_code = FAILED


class Unusable(click.ClickException):
    """The command cannot be carried out as it was given."""

    exit_code = UNUSABLE


class ExitCodes(AbstractContextManager[None]):
    """Turns errors of the package into one line on stderr and an exit code."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, (JobError, QueueNotEmpty, RepeatableJobNotFound, WaitTimeout)):
            raise Failed(str(error)) from error
        if isinstance(error, StratixError):
            raise Unusable(str(error)) from error
        if isinstance(error, KeyboardInterrupt | click.Abort):  # the latter at a question
            raise click.exceptions.Exit(INTERRUPTED) from error


class Commands(click.Group):
    """A group whose commands end with the exit codes above."""

    def invoke(self, ctx: click.Context) -> Any:
        with ExitCodes():
            return super().invoke(ctx)
