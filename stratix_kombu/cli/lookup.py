"""Which application a command is about: ``--app``, ``--config``, the environment, or ``stratix.toml``."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from stratix_kombu.cli.logs import say
from stratix_kombu.config import CONFIGURATION
from stratix_kombu.errors import ConfigurationError, nearest
from stratix_kombu.hints import NO_OTHERS, hint_for

if TYPE_CHECKING:
    from celery import Celery

    from stratix_kombu.application import Application

_META = "stratix_kombu.cli"
_STORE = "stratix_kombu.cli.store"
FEW = 12
"""The number of modules that are listed if no name is similar."""
_USUAL = ("app", "application", "celery")
HINT = f"""\b
The application is, in this order:
  --app module:attr      an Application, a Celery app with the bridge, or a function that returns one
  --config file.toml     its settings; the environment STRATIX_* takes precedence
  STRATIX_APP            as --app
  STRATIX_CONFIG         as --config; without it {CONFIGURATION} in this directory
  STRATIX_DRIVER, ...    the settings alone
Modules are imported from the working directory, as with celery and uvicorn."""


def application_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that select the application, and the store of its jobs."""
    config = click.Path(exists=True, dir_okay=False, path_type=Path)
    function = click.option(
        "--store",
        metavar="FILE|URL",
        expose_value=False,
        callback=_use_store,
        help="Where the jobs are kept, unless the application configures it: a file (SQLite), or a URL.",
    )(function)
    function = click.option("--config", type=config, help="A TOML file of settings.")(function)
    return click.option("-A", "--app", "reference", metavar="MODULE:ATTR", help="The application: module:attr.")(
        function
    )


def _use_store(context: click.Context, _: click.Parameter, value: str | None) -> None:
    """As the environment would say it, for this command and its children."""
    if value is not None:
        before = os.environ.get("STRATIX_STORE")
        context.call_on_close(lambda: _set_again("STRATIX_STORE", before))
        os.environ["STRATIX_STORE"] = context.meta[_STORE] = url_of(value)


def _set_again(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def url_of(value: str) -> str:
    """The URL of a store that is named by it, or by its file."""
    from stratix_kombu.config.embedded import STORE_AS_DRIVER

    return value if "://" in value else f"{STORE_AS_DRIVER}:///{value}"


def _check_store(context: click.Context, found: Any) -> Any:
    """Raises ConfigurationError if the application has another store than --store says."""
    named = context.meta.get(_STORE)
    if named is not None and not is_celery(found) and found.queue.settings.store != named:
        raise ConfigurationError(
            "--store names another store, and the application itself configures where its jobs are "
            f"({found.queue.describe()}): leave out 'driver' and 'store' in its settings, or leave out --store"
        )
    return found


def remember(context: click.Context, reference: str | None, config: Path | None) -> None:
    """Keep the options given before the command's name, for the command."""
    context.meta[_META] = (reference, config)


def said_before(context: click.Context) -> tuple[str | None, Path | None]:
    """The options given before the command's name: an application, and a file of settings."""
    given = context.meta.get(_META, (None, None))
    return given if isinstance(given, tuple) else (None, None)


def remember_application(context: click.Context, application: Any) -> None:
    """Have the commands of this context work on this application, a Celery one as well."""
    context.meta[_META] = application


def with_application(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, and pass it an ``Application`` as its first argument, which is closed
    afterwards."""

    def command(context: click.Context, /, reference: str | None, config: Path | None, **options: Any) -> Any:
        application = bridged(find(context, reference, config))
        queues = application.queue
        if not queues.shared:
            limit = "start in the process that adds them" if queues.store.shared else "are visible only to that process"
            say(f"note: {queues.describe()}: jobs {limit}")
        try:
            return function(application, **options)
        finally:
            application.queue.close(0)  # nothing was started, so the application's hooks have nothing to close

    return application_options(functools.update_wrapper(click.pass_context(command), function))


def find(context: click.Context, reference: str | None, config: Path | None) -> Any:
    """The selected ``Application`` or Celery application. Raises ConfigurationError."""
    from stratix_kombu.config.environment import from_environment
    from stratix_kombu.config.settings import settings_file
    from stratix_kombu.drivers.registry import known_drivers

    if reference is None and config is None:
        if not isinstance(given := context.meta.get(_META, ()), tuple):
            return given
        reference, config = said_before(context)
    if reference and config:
        raise ConfigurationError("--app and --config were given: the application at --app has its own configuration")
    if config is None and (reference := reference or os.environ.get("STRATIX_APP")):
        return _check_store(context, load(reference))
    settings = config or os.environ.get("STRATIX_CONFIG") or settings_file()
    if not settings and not from_environment(os.environ, known_drivers()):
        raise ConfigurationError(
            f"which application? Name it with --app module:attr, --config file.toml, a {CONFIGURATION} in "
            "this directory, or the environment (STRATIX_APP, STRATIX_DRIVER, ...)"
        )
    from stratix_kombu.application import create_app

    return _check_store(context, create_app(config))


def bridged(found: Any) -> Application:
    """The application itself, or that of a Celery application's bridge. Raises ConfigurationError without one."""
    if not is_celery(found):
        application: Application = found
        return application
    from stratix_kombu.celery.bridge import bridge_in_worker

    bridge = bridge_in_worker(found)
    if bridge is None:
        raise ConfigurationError(
            f"the Celery application {found.main!r} does not have the bridge: call "
            "stratix_kombu.celery.install(app) where it is created; 'stratix-kombu check' lists what "
            "that changes"
        )
    return bridge.application


def is_celery(found: Any) -> bool:
    """Whether it is a Celery application; Celery is not imported for that."""
    return any((cls.__module__, cls.__name__) == ("celery.app.base", "Celery") for cls in type(found).__mro__)


def load(reference: str) -> Any:
    """The application at ``module:attr``, or in a module that holds one. Raises ConfigurationError."""
    from stratix_kombu.model.awaiting import call

    name, _, path = reference.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    module = _import(name, reference)
    target = _attribute(module, path) if path else _in_module(module)
    if not _usable(target) and callable(target):
        try:
            target = call(target)
        except TypeError as problem:
            raise ConfigurationError(f"{reference} cannot be called without arguments: {problem}") from problem
    if not _usable(target):
        raise ConfigurationError(
            f"{reference} is a {type(target).__name__}, and must be an Application, a Celery application, "
            "or a function that returns one"
        )
    return target


def _usable(found: Any) -> bool:
    from stratix_kombu.application import Application

    return isinstance(found, Application) or is_celery(found)


def _import(name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name is None or not f"{name}.".startswith(f"{problem.name}."):
            raise _broken(f"the module {name!r}", problem) from problem
        here = Path.cwd()
        modules = _modules(here)
        meant = name.removesuffix(".py").replace("/", ".")
        near = f"; write {meant!r}" if meant in modules else nearest(meant, modules if len(modules) <= FEW else ())
        near = near or hint_for(meant, modules, NO_OTHERS)
        raise ConfigurationError(
            f"there is no module {problem.name!r} for the application {reference!r}{near} (looked in {here} and "
            "the Python path)"
        ) from problem
    except Exception as problem:
        raise _broken(f"the module {name!r}", problem) from problem


def _modules(folder: Path) -> set[str]:
    """What can be imported from the directory, with the modules of its packages."""
    files = [path for shape in ("*.py", "*/*.py", "*/*/*.py") for path in folder.glob(shape)]
    parts = (file.relative_to(folder).with_suffix("").parts for file in files)
    names = {".".join(module[:-1] if module[-1] == "__init__" else module) for module in parts}
    return {name for name in names if name and all(part.isidentifier() for part in name.split("."))}


def import_tasks(app: Celery) -> None:
    """Import the modules that a Celery application lists (``include``, ``imports``, ``autodiscover_tasks``). Raises
    ConfigurationError."""
    try:
        app.loader.import_default_modules()
    except Exception as problem:
        raise _broken(f"a module that the Celery application {app.main!r} lists", problem) from problem


def _broken(what: str, problem: Exception) -> ConfigurationError:
    """The module exists and raises: the error says where."""
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if frame.filename.startswith(os.getcwd())]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return ConfigurationError(f"{what} cannot be imported: {type(problem).__name__}: {problem}{where}")


def _attribute(module: ModuleType, path: str) -> Any:
    value: Any = module
    for name in path.split("."):
        try:
            value = getattr(value, name)
        except AttributeError:
            names = [attribute for attribute in dir(value) if not attribute.startswith("_")]
            applications = [attribute for attribute in names if _usable(getattr(value, attribute, None))]
            near = nearest(name, applications) if applications else hint_for(name, names, NO_OTHERS)
            raise ConfigurationError(f"{getattr(value, '__name__', value)!r} has no {name!r}{near}") from None
    return value


def _in_module(module: ModuleType) -> Any:
    """The application of a module that was named without an attribute, found as Celery finds one."""
    for name in _USUAL:
        if _usable(found := getattr(module, name, None)):
            return found
    held = {id(member): member for member in vars(module).values() if _usable(member)}
    if len(held) == 1:
        return next(iter(held.values()))
    for name in _USUAL if hasattr(module, "__path__") else ():
        if importlib.util.find_spec(f"{module.__name__}.{name}"):
            return _in_module(_import(f"{module.__name__}.{name}", module.__name__))
    raise ConfigurationError(
        f"the module {module.__name__!r} holds {len(held) or 'no'} applications: name one, as in --app "
        f"{module.__name__}:app"
    )
