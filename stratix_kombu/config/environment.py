"""Settings from the environment: whatever a file can contain.

One rule: ``STRATIX_`` and the setting's name. Within a setting, levels are separated by a double underscore; after the
name of a section a single one is enough: ``STRATIX_DRIVER``, ``STRATIX_REDIS_URL``, ``STRATIX_SQS_AWS__REGION``,
``STRATIX_WORKER_LEASE_DURATION``, ``STRATIX_QUEUES_EMAILS__CONCURRENCY``. A whole section may be an inline table of
TOML, for names that a variable cannot have: ``STRATIX_QUEUES='{"e-mails" = {concurrency = 3}}'``.

Values are read as in TOML where they can be; what is no value of TOML is text. Options of drivers are text, since a
password may be digits; of those only lists and tables are read. A table that cannot be read is an error.

Others use the prefix too (Kubernetes sets variables for each Service), so what is no setting is ignored: with a warning
if it is nearly the name of one. ``STRATIX_APP`` is for the command line, ``STRATIX_TEST_*`` for the tests.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from stratix_kombu.config.options import JOB_OPTIONS, LIMITER_OPTIONS, PROCESSOR_OPTIONS, QueueOptions, WorkerOptions
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.text import bounded, kind_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

logger = logging.getLogger("stratix_kombu")

MAX_SHOWN = 200
"""Bytes of a variable's name that a log line shows."""

PREFIX = "STRATIX_"
_OTHERS = ("app", "config")
_PLAIN = ("driver", "store", "namespace", "shutdown_timeout", "timezone")
_WORKER = tuple(field.name for field in fields(WorkerOptions))
_SECTIONS: Mapping[str, Collection[str]] = {
    "default_job_options": JOB_OPTIONS,
    "limiter": LIMITER_OPTIONS,
    "processor": PROCESSOR_OPTIONS,
    "worker": _WORKER,
    "bullmq": _WORKER,
    "metrics": ("port", "host"),
    "queues": tuple(field.name for field in fields(QueueOptions)),
}
"""Sections that are not a driver's, with the options of each; those of ``queues`` are one level further in."""
_EXAMPLES = {
    "default_job_options": ("attempts", "3"),
    "limiter": ("max", "10"),
    "processor": ("sandboxed", "true"),
    "worker": ("lease_duration", "30000"),
    "bullmq": ("max_stalled_count", "1"),
    "metrics": ("port", "9100"),
    "queues": ("concurrency", "3"),
}
"""An option of each section, with a value, for errors."""
_OF_TABLES = re.compile(r"[\[{}=]")
_ONE_QUEUE = re.compile(r"queues_((?:(?!__).)+)\Z")
_POSITION = re.compile(r" \(at line 1, column (\d+)\)\Z")
_SERVICE = re.compile(r"(^|_)SERVICE_(HOST|PORT)(_|$)|(^|_)PORT_\d+_(TCP|UDP|SCTP)(_|$)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def from_environment(environment: Mapping[str, str], drivers: Collection[str]) -> dict[str, Any]:
    """The settings that are in it; ``drivers`` are the names of sections with options of their own."""
    settings: dict[str, Any] = {}
    sections = sorted({*_SECTIONS, *drivers}, key=len, reverse=True)
    for variable, text in sorted(environment.items()):
        rest = variable.removeprefix(PREFIX)
        if rest == variable or rest.startswith("TEST_") or rest.lower() in _OTHERS or _of_a_service(rest, text):
            continue
        path = _path(rest.lower(), sections)
        value = _value(path[0], text) if path else None
        if _is_meant_as_table(rest.lower(), path, text, value):
            raise _unreadable(variable, rest.lower(), path, text)
        if not path or (len(path) == 1 and path[0] not in _PLAIN and not isinstance(value, dict)):
            _ignored(variable, rest, sections)
        elif not _put(settings, path, value):
            logger.warning("%s is ignored: %s%s is not a table", variable, PREFIX, path[0].upper())
    return settings


def _of_a_service(rest: str, text: str) -> bool:
    """Whether it is one of the variables that Kubernetes sets for a Service called ``stratix-...``."""
    address = (rest == "PORT" or rest.endswith("_PORT")) and _SERVICE_ADDRESS.match(text)
    return bool(address or _SERVICE.search(rest))


def _path(name: str, sections: Collection[str]) -> list[str]:
    """Where in the settings it belongs; empty for what is no setting."""
    if name in _PLAIN or name in sections:
        return [name]
    section = next((candidate for candidate in sections if name.startswith(f"{candidate}_")), "")
    inner = name[len(section) + 1 :].removeprefix("_").split("__")
    option = 1 if section == "queues" else 0
    known = _SECTIONS.get(section)
    if not section or "" in inner or len(inner) <= option or (known is not None and inner[option] not in known):
        return []
    return [section, *inner]


def _value(section: str, text: str) -> Any:
    """As TOML has it, or the text."""
    if section in _SECTIONS or section == "kombu" or text.lstrip()[:1] in ("[", "{"):
        try:
            read = tomllib.loads(f"value = {text}")
        except (ValueError, RecursionError):
            return text
        return read["value"] if len(read) == 1 else text
    return text


def _is_meant_as_table(name: str, path: list[str], text: str, value: Any) -> bool:
    """Whether one of our settings was to be given a table, and none can be read. What has none of a table's characters
    is another program's, which may use such a name; and a password may begin with any character."""
    if len(path) == 1:
        return path[0] not in _PLAIN and not isinstance(value, dict) and bool(_OF_TABLES.search(text))
    if text.lstrip()[:1] not in ("[", "{"):
        return False
    return (path[0] in _SECTIONS and value == text) if path else bool(_ONE_QUEUE.match(name))


def _unreadable(variable: str, name: str, path: list[str], text: str) -> ConfigurationError:
    """What is wrong with a table, without anything that it says, such as a password."""
    try:
        why = f"it is {kind_of(tomllib.loads(f'value = {text}')['value'])}"
    except (ValueError, RecursionError) as problem:
        why = _POSITION.sub(lambda at: f" (at character {int(at[1]) - len('value = ')})", str(problem))
    option, value = _EXAMPLES.get(name, ("url", '"..."')) if len(path) == 1 else ("_name", "value")
    right, single = f"{variable}='{{{option.strip('_')} = {value}}}'", f"{variable}_{option.upper()}"
    if name.startswith("queues"):
        option, value = _EXAMPLES["queues"]
        queue = one[1] if (one := _ONE_QUEUE.match(name)) else "emails"
        right = f"{PREFIX}QUEUES='{{{queue} = {{{option} = {value}}}}}'"
        single = f"{PREFIX}QUEUES_{queue.upper()}__{option.upper()}"
        why = "only that of all queues can be one" if one else why
    return ConfigurationError(
        f"the environment variable {bounded(variable, MAX_SHOWN)} is no table of TOML: {why}. Write a table in one "
        f"line, with '=' after each name and texts in quotes, such as {right}; or one option, such as {single}"
    )


def _put(into: dict[str, Any], path: list[str], value: Any) -> bool:
    """False if there is something on the way that is no table."""
    for key in path[:-1]:
        into = into.setdefault(key, {})
        if not isinstance(into, dict):
            return False
    into[path[-1]] = value
    return True


def _ignored(variable: str, rest: str, sections: Collection[str]) -> None:
    names = [*_PLAIN, *_OTHERS, *(f"{section}_url" for section in sections if section not in _SECTIONS)]
    names += [f"{section}_{option}" for section, known in _SECTIONS.items() if section != "queues" for option in known]
    near = get_close_matches(rest, [name.upper() for name in names], n=1, cutoff=0.7)
    hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
    logger.log(
        logging.WARNING if near else logging.INFO,
        "the environment variable %s is not a setting and is ignored%s",
        bounded(variable, MAX_SHOWN),
        hint,
        extra={"action": "variable_ignored"},
    )
