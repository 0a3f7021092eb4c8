"""Arguments, a mapping, the environment and a file, in this order, become one ``Settings``.

The code takes precedence over the environment, and the environment over a file. The file is the one that the code names
(a mapping replaces it), otherwise ``STRATIX_CONFIG``, otherwise a ``stratix.toml``: see ``settings_file``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from stratix_kombu.config import CONFIGURATION
from stratix_kombu.config.embedded import name_once
from stratix_kombu.config.environment import from_environment
from stratix_kombu.config.options import (
    JobOptions,
    ProcessorOptions,
    QueueOptions,
    WorkerOptions,
    limit_of,
    snake_keys,
    together,
    whole,
)
from stratix_kombu.config.redis_options import SERVERS
from stratix_kombu.errors import ConfigurationError, UnknownDriver, nearest_option
from stratix_kombu.model.names import check_queue_name, snake
from stratix_kombu.model.suspects import suspect_seconds
from stratix_kombu.model.text import kind_of
from stratix_kombu.model.zones import check_zone

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TOP = (
    "driver",
    "store",
    "namespace",
    "default_job_options",
    "limiter",
    "processor",
    "worker",
    "bullmq",
    "queues",
    "shutdown_timeout",
    "metrics",
    "timezone",
)
ALIASES = {"bullmq": "redis", "amqp": "rabbitmq"}
_OPTIONS_OF = "the options of "
_LIKE = {
    "redis": "{'url': 'redis://host:6379/0'}",
    "rabbitmq": "{'url': 'amqp://host:5672//'}",
    "metrics": "{'port': 9100}",
    "worker": "{'lease_duration': 30000}",
    "queues": "{'emails': {'concurrency': 3}}",
}
_REDIS_SCHEMES = (*SERVERS, "redis+cluster")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a started application serves its metrics."""

    port: int
    """0 = a free one."""
    host: str = "0.0.0.0"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """What an application is made from."""

    driver: str = "memory"
    driver_options: Mapping[str, Any] = field(default_factory=dict)
    store: str | Mapping[str, Any] = "memory://"
    namespace: str = "stratix"
    job_defaults: JobOptions = field(default_factory=JobOptions)
    worker: WorkerOptions = field(default_factory=WorkerOptions)
    queues: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    limiter: Mapping[str, Any] | None = None
    """The default of every queue; each has its own."""
    processor: Mapping[str, Any] = field(default_factory=dict)
    """The defaults of every queue."""
    shutdown_timeout: float = 30.0
    """Seconds ``run`` and ``close`` wait for active jobs."""
    metrics: Endpoint | None = None
    """None = nowhere."""
    timezone: str | None = None
    """Of cron rules that name none; None = UTC."""
    file: str | None = None
    """The file they were read from."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """What was given, before it was read: with credentials."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Where each value that was given came from: ``argument``, ``environment``, or the file's path. Options within
    options by their path, such as ``redis.url``."""

    def __repr__(self) -> str:
        return f"Settings(driver={self.driver.partition('://')[0]!r}, namespace={self.namespace!r})"

    @property
    def sources(self) -> str:
        """Where the settings came from, as text.

        >>> load_settings({"driver": "memory"}, environment={}).sources
        'the code'
        """
        names = {"argument": "the code", "environment": "the environment"}
        said = (source for key, source in self.origin.items() if "." not in key and not source.startswith(_OPTIONS_OF))
        others = sorted({names.get(source, source) for source in said} - {self.file})
        return ", ".join([self.file, *others] if self.file else others)

    @property
    def is_memory_by_default(self) -> bool:
        """Whether there are settings but no driver: then it is memory, which may not be intended."""
        return bool(self.given) and "driver" not in self.origin

    def queue_options(self, name: str, given: Mapping[str, Any]) -> QueueOptions:
        """Options of one queue: those given at its creation take precedence over those of the configuration."""
        defaults: Mapping[str, Any] = {"limiter": self.limiter} if self.limiter else {}
        configured = self.queues.get(name, {})
        merged = dict(together(together(defaults, configured, name), given, name))
        # Each option of a processor separately: a queue that only limits its children is still sandboxed.
        layers = [self.processor, configured.get("processor") or {}, given.get("processor") or {}]
        if all(isinstance(layer, Mapping) for layer in layers):
            merged["processor"] = {snake(key): value for layer in layers for key, value in layer.items()}
        options = QueueOptions.parse(merged, f"queue {name!r}", self.job_defaults)
        if options.dead_letter == name:
            raise ConfigurationError(f"queue {name!r}: 'dead_letter' must be another queue, such as '{name}-dead'")
        return options


def load_settings(
    source: str | Path | Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    drivers: Collection[str] = ("memory",),
    own: Collection[str] = (),
) -> Settings:
    """Settings from a TOML file, the environment, a mapping and the arguments; later ones take precedence.

    ``drivers`` are the names a configuration may use; those of them that are the program's ``own`` have no store unless
    one is named. Raises ConfigurationError, which says where the mistake is.

    >>> load_settings({"driver": "memory"}, environment={}).namespace
    'stratix'
    """
    environment = environment or {}
    path = source if source is not None else environment.get("STRATIX_CONFIG") or settings_file()
    outer = from_environment(environment, drivers)
    layers: list[tuple[str, Mapping[str, Any]]] = [("environment", outer)]
    file = str(path) if isinstance(path, (str, Path)) else None
    if isinstance(path, (str, Path)):
        layers.insert(0, (str(path), _from_file(path)))
    elif path is not None:
        layers.append(("argument", _settings_of(path)))
    layers.append(("argument", arguments or {}))
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, layer in layers:
        _merge(merged, {snake(key): value for key, value in layer.items()}, name, origin)
    if _in_memory(merged.get("driver")) and "store" in merged and _rank(origin["store"]) < _rank(origin["driver"]):
        del merged["store"], origin["store"]  # a program that asks for memory, as tests do, must not write to a server
    return replace(_settings(merged, origin, drivers, own), file=file)


def _in_memory(driver: Any) -> bool:
    return isinstance(driver, str) and driver.partition("://")[0] == "memory"


def _rank(origin: str) -> int:
    """Which layer it is: the higher one wins."""
    return {"argument": 2, "environment": 1}.get(origin, 0)


def settings_file() -> Path | None:
    """The ``stratix.toml`` of a program that names no file, None if there is none: in the working directory, otherwise
    beside the main module, whether that is a script, a module of a package (then beside the package too), or frozen."""
    for folder in dict.fromkeys(_folders()):
        with suppress(OSError):
            if (folder / CONFIGURATION).is_file():
                return folder / CONFIGURATION
    return None


def _folders() -> Iterator[Path]:
    with suppress(OSError):  # it was removed
        yield Path.cwd()
    main = sys.modules.get("__main__")
    if getattr(sys, "frozen", False):
        path = sys.executable
    else:
        # Processes that multiprocessing spawns import the main module under another name, after argv was set.
        path = getattr(main, "__file__", None) or (sys.argv[0] if sys.argv else "")
    if not path or not os.path.isfile(path):  # a session, a notebook, or 'python -c'
        return
    beside = Path(os.path.realpath(path)).parent
    yield beside
    spec = getattr(main, "__spec__", None)
    levels = spec.name.count(".") if spec is not None else 0  # 'python -m package.module'
    yield from list(beside.parents)[levels - 1 : levels] if levels else ()


def _settings_of(given: object) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return given
    raise ConfigurationError(f"settings are a mapping or the path of a file, not {kind_of(given)}")


def _from_file(path: str | Path) -> dict[str, Any]:
    if "://" in str(path):  # not shown: it may have a password in it
        raise ConfigurationError(
            "a URL is not a settings file: write create_app({'driver': 'redis://host:6379/0'}), or set STRATIX_DRIVER"
        )
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigurationError(f"the configuration file {path} cannot be read: {problem.strerror}") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigurationError(f"the configuration file {path} is not TOML: {problem}") from problem


def _merge(into: dict[str, Any], layer: Mapping[str, Any], name: str, origin: dict[str, str]) -> None:
    for key, value in layer.items():
        if value is None:
            continue
        below = into.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and key != "store":
            # Within the options of a driver all levels come together: a region from the environment leaves credentials.
            # The environment says single options everywhere.
            whole = key in _TOP and "environment" not in (name, origin.get(key))
            if whole:  # names of queues are no options that may be spelt in two ways
                into[key] = {**below, **value} if key == "queues" else together(below, value, key)
            else:
                into[key] = _together(below, value, snake if key != "queues" else str)
        else:
            into[key] = value
        origin[key] = name
        if isinstance(value, Mapping):
            origin.update(dict.fromkeys(_paths(value, key), name))


def _together(under: Mapping[str, Any], over: Mapping[str, Any], same: Callable[[str], str] = snake) -> dict[str, Any]:
    """``over`` on ``under``, at all levels; ``same`` gives what two spellings of one option have in common."""
    said = {same(str(key)) for key in over}
    merged = {key: value for key, value in under.items() if key in over or same(str(key)) not in said}
    for key, value in over.items():
        below = next((inner for name, inner in under.items() if same(str(name)) == same(str(key))), None)
        merged[key] = _together(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged


def _paths(value: Mapping[str, Any], above: str) -> Iterator[str]:
    for key, inner in value.items():
        path = f"{above}.{key}"
        yield path
        if isinstance(inner, Mapping):
            yield from _paths(inner, path)


def _settings(
    merged: dict[str, Any], origin: dict[str, str], drivers: Collection[str], own: Collection[str]
) -> Settings:
    if "driver" not in merged and (named := _driver_of_its_options(merged, drivers)):
        merged["driver"], origin["driver"] = named, f"{_OPTIONS_OF}{named}"
    name_once(merged, origin)
    driver = merged.get("driver", "memory")
    if not isinstance(driver, str):
        raise ConfigurationError(f"'driver' must be a name or a Kombu URL, not {kind_of(driver)}")
    if "://" not in driver and driver not in drivers:
        raise UnknownDriver(driver.partition(":")[0], drivers)  # it may be a URL with a slip of the pen
    allowed = {*_TOP, *drivers, driver}
    for key in merged:
        if key not in allowed:
            raise ConfigurationError(f"unknown setting {key!r}{nearest_option(key, allowed)}")
    name = ALIASES.get(driver, driver)
    # The document calls the driver 'bullmq', keeps the server under 'redis' and the worker's watch under 'bullmq'.
    given = _mapping(merged, name) or (_mapping(merged, driver) if driver != "bullmq" else {})
    options = {snake(key): value for key, value in given.items()}
    if "://" in driver and "kombu" in drivers:
        options = {**_of_kombu(merged, driver), **options}
    worker = {**_mapping(merged, "bullmq"), **_mapping(merged, "worker")}
    return Settings(
        driver=driver,
        driver_options=options,
        store="" if name in own and merged.get("store") is None else _store(merged.get("store"), name, options),
        namespace=check_queue_name(merged.get("namespace", "stratix"), "cannot be the namespace"),
        job_defaults=JobOptions.parse_defaults(_mapping(merged, "default_job_options"), "'default_job_options'"),
        worker=WorkerOptions.parse(worker, "'worker'"),
        queues=_queues(_mapping(merged, "queues")),
        limiter=_limiter(merged),
        processor=_processor(merged),
        shutdown_timeout=_seconds(merged.get("shutdown_timeout", 30.0)),
        metrics=_endpoint(_mapping(merged, "metrics")),
        timezone=check_zone(merged["timezone"]) if "timezone" in merged else None,
        given=merged,
        origin=origin,
    )


def _of_kombu(merged: Mapping[str, Any], driver: str) -> dict[str, Any]:
    """What the section ``kombu`` says for a driver that is named by its URL."""
    options = {snake(key): value for key, value in _mapping(merged, "kombu").items()}
    if options.setdefault("url", driver) != driver:
        raise ConfigurationError("'driver' is a URL and the section 'kombu' has another 'url': give one of them")
    del options["url"]
    return options


def _driver_of_its_options(merged: Mapping[str, Any], drivers: Collection[str]) -> str:
    """Without 'driver': the one whose options are given, as documented for ``redis``; '' if none are."""
    # 'bullmq' holds how workers keep watch, whatever the driver is.
    named = [name for name in drivers if merged.get(name) is not None and name != "bullmq"]
    given = [name for name in named if merged[name]] or named  # an empty section is all of its defaults
    if len(given) > 1:
        raise ConfigurationError(f"there are options for {' and '.join(given)}: set 'driver' to one of them")
    return given[0] if given else ""


def _store(store: Any, driver: str, options: Mapping[str, Any]) -> str | Mapping[str, Any]:
    """The store that was named; otherwise the redis of the redis driver, memory for memory, and '' for a user's own
    driver, which may need none."""
    if store is not None:
        if not isinstance(store, (str, Mapping)):
            raise ConfigurationError(f"'store' must be a URL or options, not {kind_of(store)}")
        return store
    scheme = driver.partition("://")[0]
    if driver == "redis":
        return dict(options) or {"host": "localhost"}
    if "://" in driver and scheme in _REDIS_SCHEMES:
        return driver
    if scheme == "memory":
        return "memory://"
    if "://" not in driver and driver not in ("sqs", "rabbitmq"):
        return ""
    raise needs_a_store(scheme)


def needs_a_store(driver: str) -> ConfigurationError:
    """The error for a driver of messages without a store."""
    return ConfigurationError(
        f"the driver {driver!r} carries messages and needs a 'store' to keep jobs in: store='redis://host:6379/0' "
        "(or rediss://, sentinel://, redis+cluster://), or store={'host': ...} with the options of "
        "redis={...} (redis={...} itself configures the driver 'redis' only); or store='memory://' if "
        "everything runs in this one process"
    )


def _mapping(merged: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = merged.get(key) or {}
    if not isinstance(value, Mapping):
        like = f" like {_LIKE[key]}" if key in _LIKE else ""
        raise ConfigurationError(f"{key!r} must be a mapping{like}, not {kind_of(value)}")
    return value


def _limiter(merged: Mapping[str, Any]) -> Mapping[str, Any] | None:
    given = _mapping(merged, "limiter") or None
    if given is not None:
        limit_of(given, "'limiter'")
    return given


def _processor(merged: Mapping[str, Any]) -> Mapping[str, Any]:
    given = _mapping(merged, "processor")
    ProcessorOptions.parse(given, "'processor'")
    return given


def _endpoint(given: Mapping[str, Any]) -> Endpoint | None:
    if not given:
        return None
    options = snake_keys(given, [field.name for field in fields(Endpoint)], "'metrics'")
    port, host = options.get("port"), options.get("host", "0.0.0.0")
    if not isinstance(host, str) or not host:
        raise ConfigurationError(f"'metrics': 'host' must be an address to listen on, not {host!r}")
    return Endpoint(port=whole(port, "'metrics': 'port'", 0, 65_535), host=host)


def _queues(value: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {check_queue_name(name, what="'queues'"): _mapping(value, name) for name in value}


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise ConfigurationError(f"'shutdown_timeout' must be seconds, not {value!r}")
    suspect_seconds(seconds, "'shutdown_timeout'")
    return seconds
