"""What all commands share: which errors end them with which exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import fields
from functools import update_wrapper
from importlib import import_module
from types import TracebackType
from typing import IO, Any, cast

import click

from stratix_kombu.cli.streams import prepare, problem_of_output, reader_has_gone
from stratix_kombu.errors import JobError, QueueNotEmpty, RepeatableJobNotFound, StratixError, WaitTimeout, nearest
from stratix_kombu.foreign import COMMAND_OPTIONS, COMMANDS

DONE, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
EXIT_CODES = """\b
Exit codes:
  0    done
  1    no: not found, not possible in this state, not healthy, not confirmed
  2    wrong usage or configuration, or the store or broker cannot be reached
  130  ended by Ctrl-C"""


def with_options(options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Pass a command those of its options that are fields of a dataclass as one argument, ``options``."""
    names = [field.name for field in fields(cast("Any", options))]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def command(*arguments: Any, **given: Any) -> Any:
            own = options(**{name: given.pop(name) for name in names})
            return function(*arguments, options=own, **given)

        return update_wrapper(command, function)

    return decorate


class Refusal(click.ClickException):
    """An error of one line."""

    def show(self, file: IO[Any] | None = None) -> None:
        with suppress(OSError):  # the exit code says so where stderr cannot be written
            super().show(file or sys.stderr)


class Failed(Refusal):
    """The command was understood, and the answer is no."""

    exit_code = FAILED


class Unusable(Refusal):
    """The command cannot be executed as given."""

    exit_code = UNUSABLE


class ExitCodes(AbstractContextManager[None]):
    """Turns errors of the package into one line on stderr and an exit code."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, RepeatableJobNotFound):
            raise Failed(f"{error.what}: see 'repeat list'") from error
        if isinstance(error, (JobError, QueueNotEmpty, WaitTimeout)):
            raise Failed(str(error)) from error
        if isinstance(error, StratixError):
            raise Unusable(str(error)) from error
        if reader_has_gone(error):
            raise click.exceptions.Exit(DONE) from error
        if problem := problem_of_output(error):
            raise Unusable(problem) from error
        if isinstance(error, KeyboardInterrupt | click.Abort):  # Abort: Ctrl-C at a question
            raise click.exceptions.Exit(INTERRUPTED) from error


class Commands(click.Group):
    """A group whose commands end with the exit codes above; for an unknown command it suggests the nearest name.
    ``homes``: files of this package by the names of their commands, which are imported when they are used."""

    def __init__(self, *arguments: Any, homes: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._homes = homes or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self._homes})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._homes and cmd_name not in self.commands:
            home = import_module(f"stratix_kombu.cli.{self._homes[cmd_name]}")
            self.add_command(getattr(home, cmd_name.replace("-", "_")))
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            raise click.UsageError(f"no such command {name!r}{nearest(name, self.list_commands(ctx), COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        prepare()
        with ExitCodes():  # the help is written here
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        prepare()  # here too, for a group of Celery's command line
        with ExitCodes():
            try:
                return super().invoke(ctx)
            except click.NoSuchOption as problem:
                raise _with_ours(problem) from problem


def _with_ours(problem: click.NoSuchOption) -> click.UsageError:
    """The error, with our name for an option of Celery's."""
    ours = COMMAND_OPTIONS.get(problem.option_name)
    known = problem.ctx.command.params if problem.ctx else []
    if not any(ours in parameter.opts for parameter in known):
        return problem
    return click.UsageError(f"no such option {problem.option_name}; did you mean {ours}?", problem.ctx)
