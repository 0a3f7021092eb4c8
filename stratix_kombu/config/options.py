"""Every option, validated when it is given. snake_case, and the documented camelCase; others are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

from stratix_kombu.errors import ConfigurationError, InvalidPayload, nearest
from stratix_kombu.model.arguments import flag
from stratix_kombu.model.backoff import Backoff
from stratix_kombu.model.codec import MAX_PAYLOAD_BYTES, decode_mapping
from stratix_kombu.model.given import (
    MAX_MS,
    mapping,
    milliseconds as milliseconds,
    snake_keys as snake_keys,
    together as together,
    whole as whole,
)
from stratix_kombu.model.instant import instant as instant
from stratix_kombu.model.limiter import check_window
from stratix_kombu.model.names import (
    check_chosen_id,
    check_group,
    check_job_id,
    check_known_id,
    check_queue_name,
    snake as snake,
)
from stratix_kombu.model.record import KEEP_ALL, Deduplication, Limit, NewJob, Retention
from stratix_kombu.model.retention import retention
from stratix_kombu.model.suspects import suspect_delay, suspect_instant
from stratix_kombu.types import Duration as Duration

MAX_CONCURRENCY, MAX_ATTEMPTS = 1000, 10_000
SHARED = "key:"
"""Begins the key of a limit that the user has given one."""
LIMITER_OPTIONS = ("max", "duration", "bounce_back", "refill_rate", "initial_tokens", "key")


def dotted_path(function: Callable[..., Any], what: str) -> str:
    """``module:name`` of an importable function; a lambda or closure is refused."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if not callable(function) or not module or "<" in name or module == "__main__":
        where = "a module other than the script that runs" if module == "__main__" else "a module"
        raise ConfigurationError(
            f"{what} must be a function that a worker can import by module and name, not {function!r}: "
            f"move it to the top level of {where}, or register it with create_queue(backoffs={{'name': function}}) "
            "and give the name"
        )
    return f"{module}:{name}"


def limit_of(value: object, what: str) -> Limit:
    """``{"max", "duration"}``: a window; with ``refill_rate`` (tokens a second) and ``initial_tokens`` a bucket, for
    which ``duration`` says nothing more. ``key`` shares it; it is '' if it is not given."""
    given = snake_keys(mapping(value, what, "such as {'max': 100, 'duration': 60_000}"), LIMITER_OPTIONS, what)
    most = whole(given.get("max"), f"{what}['max']", 1, 1_000_000)
    rate, initial = given.get("refill_rate"), given.get("initial_tokens")
    bounce = flag(given.get("bounce_back", True), f"{what}['bounce_back']")
    key = "" if given.get("key") is None else SHARED + check_job_id(given["key"], f"{what}['key']")
    if rate is None:
        if initial is not None:
            raise ConfigurationError(f"{what}: 'initial_tokens' belongs to a token bucket: set 'refill_rate' too")
        duration = milliseconds(given.get("duration"), f"{what}['duration']")
        check_window(most, duration, what)
        return Limit(key, most, duration, bounce_back=bounce)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 1_000_000:
        raise ConfigurationError(f"{what}['refill_rate'] must be tokens a second, more than 0, not {rate!r}")
    tokens = None if initial is None else whole(initial, f"{what}['initial_tokens']", 0, most)
    return Limit(key, most, refill_per_s=float(rate), initial=tokens, bounce_back=bounce)


def limiter_of(limit: Limit) -> dict[str, Any]:
    """The option that ``limit_of`` reads; ``duration`` in milliseconds."""
    given: dict[str, Any] = {"max": limit.max}
    if limit.refill_per_s:
        given["refill_rate"] = limit.refill_per_s
        if limit.initial not in (None, limit.max):
            given["initial_tokens"] = limit.initial
    else:
        given["duration"] = limit.duration_ms
    if not limit.bounce_back:
        given["bounce_back"] = False
    if limit.key.startswith(SHARED):
        given["key"] = limit.key.removeprefix(SHARED)
    return given


def deduplication_of(value: object, what: str) -> Deduplication:
    """``{"id"}``: until the job under the id has finished, or for ``ttl``; ``replace`` a delayed one, ``extend`` the
    time with each."""
    given = snake_keys(mapping(value, what, "with 'id'"), ("id", "ttl", "replace", "extend"), what)
    ttl_ms = milliseconds(given["ttl"], f"{what}['ttl']") if given.get("ttl") is not None else 0
    replace, extend = (flag(given.get(name, False), f"{what}[{name!r}]") for name in ("replace", "extend"))
    if extend and not ttl_ms:
        raise ConfigurationError(f"{what}: 'extend' needs 'ttl': set that too")
    return Deduplication(check_job_id(given.get("id"), f"{what}['id']"), ttl_ms, replace, extend)


def backoff_of(value: object, what: str) -> Backoff:
    """A number is a fixed delay; or ``{"type", "delay", "jitter"}``; or ``{"custom": function or name}``."""
    if value in ("fixed", "exponential"):
        raise ConfigurationError(f"{what}: say {value!r} with its delay, as {{'type': {value!r}, 'delay': 1000}}")
    if not isinstance(value, Mapping):
        return Backoff(delay_ms=milliseconds(value, what))
    given = snake_keys(value, ("type", "delay", "jitter", "custom"), what)
    if "custom" in given:
        if len(given) > 1:
            raise ConfigurationError(
                f"{what}: 'custom' must be the only key, without {sorted(set(given) - {'custom'})}"
            )
        custom = given["custom"]
        if isinstance(custom, str) and custom:
            return Backoff("custom", custom=custom)
        return Backoff("custom", custom=dotted_path(custom, what), function=custom)
    kind = given.get("type", "fixed")
    if kind not in ("fixed", "exponential"):
        raise ConfigurationError(f"{what}: unknown type {kind!r}{nearest(str(kind), ('fixed', 'exponential'))}")
    jitter = given.get("jitter", 0)
    if isinstance(jitter, bool) or not isinstance(jitter, (int, float)) or not 0 <= jitter <= 1:
        raise ConfigurationError(f"{what}: 'jitter' must be from 0 to 1, not {jitter!r}")
    return Backoff(kind, milliseconds(given.get("delay", 0), f"{what}['delay']"), float(jitter))


def _kept_backoff(type: str = "fixed", delay_ms: int = 0, jitter: float = 0.0, custom: str = "") -> Backoff:
    """As ``JobOptions.encode`` keeps it. A name of a function stays a name: nothing is looked up here."""
    if type == "custom" and isinstance(custom, str):
        return Backoff(type, custom=custom)
    return backoff_of({"type": type, "delay": delay_ms, "jitter": jitter}, "'backoff'")


def _job_ids(value: object, what: str) -> tuple[str, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{what} must be a list of jobs or job ids, not {value!r}")
    return tuple(check_known_id(getattr(job, "id", job), what) for job in value)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """Options of one job; see ``JobOpts``."""

    job_id: str | None = None
    delay_ms: int = 0
    due_ms: int = 0
    priority: int = 0
    attempts: int = 1
    backoff: Backoff | None = None
    dependencies: tuple[str, ...] = ()
    optional: bool = False
    keep_completed: Retention = KEEP_ALL
    keep_failed: Retention = KEEP_ALL
    limiter: Limit | None = None
    deduplication: Deduplication | None = None
    timeout_ms: int = 0
    group: str = ""

    @classmethod
    def parse(cls, options: Mapping[str, Any], where: str, defaults: JobOptions | None = None) -> JobOptions:
        """From what the user gave, over ``defaults``. Raises ConfigurationError, naming ``where``."""
        if not options and defaults is not None:
            return defaults
        given = {
            _JOB[key][0]: _JOB[key][1](value, f"{where}: {key!r}")
            for key, value in snake_keys(options, _JOB, where).items()
            if value is not None
        }
        if defaults is not None:
            given = {**{option.name: getattr(defaults, option.name) for option in fields(cls)}, **given}
        return cls(**given)

    @classmethod
    def parse_defaults(cls, options: Mapping[str, Any], where: str, defaults: JobOptions | None = None) -> JobOptions:
        """The same for options of many jobs, without those that say which job one is: all of them would be that."""
        for option, value in snake_keys(options, _JOB, where).items():
            if option in OF_ONE_JOB and value is not None:
                raise ConfigurationError(f"{where}: {option!r} belongs to one job, and no default: give it to 'add'")
        return cls.parse(options, where, defaults)

    def encode(self) -> str:
        """What is kept with the job for its retries; '' when there is nothing to keep."""
        kept: dict[str, Any] = {}
        if self.backoff is not None:
            values = ((option, getattr(self.backoff, option.name)) for option in fields(Backoff) if option.compare)
            kept["backoff"] = {option.name: value for option, value in values if value != option.default}
        if self.timeout_ms:
            kept["timeout"] = self.timeout_ms
        if self.group:
            kept["group"] = self.group
        return json.dumps(kept, separators=(",", ":")) if kept else ""

    @classmethod
    def decode(cls, text: str) -> JobOptions:
        """What ``encode`` kept. Raises InvalidPayload for anything else."""
        kept = decode_mapping(text, "the options of a job") if text else {}
        backoff, timeout_ms, group = kept.get("backoff"), kept.get("timeout", 0), kept.get("group", "")
        try:
            return cls(
                backoff=None if backoff is None else _kept_backoff(**backoff),
                timeout_ms=whole(timeout_ms, "'timeout'", 0, MAX_MS),
                group=group and check_group(group),
            )
        except (TypeError, ConfigurationError) as problem:
            raise InvalidPayload(f"the options of a job cannot be read: {problem}") from problem

    def new_job(self, job_id: str, queue: str, name: str, data: str) -> NewJob:
        """The job to be added."""
        return NewJob(
            id=self.job_id or job_id,
            queue=queue,
            name=name,
            data=data,
            options=self.encode(),
            priority=self.priority,
            delay_ms=self.delay_ms,
            due_ms=self.due_ms,
            max_attempts=self.attempts,
            dependencies=self.dependencies,
            optional=self.optional,
            keep_completed=self.keep_completed,
            keep_failed=self.keep_failed,
            limit=self.limiter and keyed(self.limiter, f"job:{queue}:{name}"),
            deduplication=self.deduplication,
            group=self.group,
            fresh=not self.job_id,
        )


def keyed(limit: Limit, key: str) -> Limit:
    """The limit under its own key if it has one, else under this one."""
    return limit if limit.key else replace(limit, key=key)


def _mode(value: object, what: str) -> bool:
    if value not in ("required", "optional"):
        raise ConfigurationError(f"{what} must be 'required' or 'optional', not {value!r}")
    return value == "optional"


def _delay(value: object, what: str) -> int:
    delay = milliseconds(value, what)
    if not isinstance(value, timedelta):
        suspect_delay(delay, what)
    return delay


def _run_at(value: object, what: str) -> int:
    at = instant(value, what)
    if not isinstance(value, datetime):
        suspect_instant(at, what)
    return at


_JOB: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "job_id": ("job_id", check_chosen_id),
    "delay": ("delay_ms", _delay),
    "run_at": ("due_ms", _run_at),
    "priority": ("priority", lambda value, what: whole(value, what, 0, 9)),
    "attempts": ("attempts", lambda value, what: whole(value, what, 1, MAX_ATTEMPTS)),
    "backoff": ("backoff", backoff_of),
    "dependencies": ("dependencies", _job_ids),
    "dependencies_mode": ("optional", _mode),
    "remove_on_complete": ("keep_completed", retention),
    "remove_on_fail": ("keep_failed", retention),
    "limiter": ("limiter", limit_of),
    "deduplication": ("deduplication", deduplication_of),
    "timeout": ("timeout_ms", milliseconds),
    "group": ("group", check_group),
}
"""Per option: the field it sets and how it is read."""

JOB_OPTIONS = frozenset(_JOB)
OF_ONE_JOB = frozenset({"job_id", "dependencies", "deduplication"})
"""Options that name jobs: as defaults they would make all jobs after the first that one, or wait for the same ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorOptions:
    """How handlers run in processes of their own; see ``ProcessorOpts``."""

    sandboxed: bool = False
    max_sandboxes: int = 0
    """0 = as many as jobs run at a time."""
    timeout_ms: int = 0
    max_memory_usage: int = 0
    """In MB; 0 = without a limit."""
    graceful: bool = False

    @property
    def concurrency(self) -> int:
        """How many jobs run at a time if the queue does not say it: as many as it may have children."""
        return self.max_sandboxes or 1 if self.sandboxed else 1

    @classmethod
    def parse(cls, options: Mapping[str, Any], where: str, others: ProcessorOptions | None = None) -> ProcessorOptions:
        """From what the user gave, which goes before the ``others``. Raises ConfigurationError, naming ``where``."""
        given = {
            _PROCESSOR[key][0]: _PROCESSOR[key][1](value, f"{where}: {key!r}")
            for key, value in snake_keys(options, _PROCESSOR, where).items()
            if value is not None
        }
        return replace(others or cls(), **given)


def _kill_behavior(value: object, what: str) -> bool:
    if value not in ("force", "graceful"):
        near = nearest(str(value), ("force", "graceful"))
        raise ConfigurationError(f"{what} must be 'force' or 'graceful', not {value!r}{near}")
    return value == "graceful"


_PROCESSOR: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "sandboxed": ("sandboxed", flag),
    "max_sandboxes": ("max_sandboxes", lambda value, what: whole(value, what, 1, MAX_CONCURRENCY)),
    "timeout": ("timeout_ms", milliseconds),
    "max_memory_usage": ("max_memory_usage", lambda value, what: whole(value, what, 1, 2**24)),
    "kill_behavior": ("graceful", _kill_behavior),
}
PROCESSOR_OPTIONS = frozenset(_PROCESSOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """Options of one queue."""

    concurrency: int = 1
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    default_job_options: JobOptions = field(default_factory=JobOptions)
    backoffs: Mapping[str, Callable[[int], float]] = field(default_factory=dict)
    limiter: Limit | None = None
    global_concurrency: int = 0
    group_concurrency: int = 0
    dead_letter: str = ""
    processor: ProcessorOptions = field(default_factory=ProcessorOptions)

    @classmethod
    def parse(cls, options: Mapping[str, Any], where: str, job_defaults: JobOptions) -> QueueOptions:
        """From what the user gave; ``job_defaults`` are those of all queues."""
        given = snake_keys(options, [option.name for option in fields(cls)], where)
        defaults, dead = given.get("default_job_options") or {}, given.get("dead_letter")
        processor = ProcessorOptions.parse(
            mapping(given.get("processor") or {}, f"{where}: 'processor'"), f"{where}: 'processor'"
        )
        return cls(
            concurrency=whole(
                given.get("concurrency", processor.concurrency), f"{where}: 'concurrency'", 1, MAX_CONCURRENCY
            ),
            max_payload_bytes=whole(
                given.get("max_payload_bytes", MAX_PAYLOAD_BYTES), f"{where}: 'max_payload_bytes'", 1, 512 * 2**20
            ),
            default_job_options=JobOptions.parse_defaults(defaults, f"{where}: 'default_job_options'", job_defaults),
            backoffs=_backoffs(given.get("backoffs") or {}, f"{where}: 'backoffs'"),
            limiter=limit_of(given["limiter"], f"{where}: 'limiter'") if given.get("limiter") is not None else None,
            processor=processor,
            dead_letter=check_queue_name(dead, what=f"{where}: 'dead_letter'") if dead else "",
            **{
                bound: whole(given.get(bound) or 0, f"{where}: {bound!r}", 0, 1_000_000)
                for bound in ("global_concurrency", "group_concurrency")
            },
        )


def _backoffs(value: object, what: str) -> dict[str, Callable[[int], float]]:
    if isinstance(value, (list, tuple)) and all(callable(function) for function in value):
        return {dotted_path(function, what): function for function in value}
    if not isinstance(value, Mapping) or not all(callable(function) for function in value.values()):
        raise ConfigurationError(f"{what} must be functions of the attempts made, or map names to such, not {value!r}")
    return dict(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How workers and clocks of this application keep watch; durations in milliseconds."""

    stalled_check_interval: int = 30_000
    max_stalled_count: int = 1
    lease_duration: int = 30_000
    redelivery_grace: int = 30_000
    clock: bool = True

    @classmethod
    def parse(cls, options: Mapping[str, Any], where: str) -> WorkerOptions:
        """From what the user gave. Raises ConfigurationError."""
        given = snake_keys(options, [option.name for option in fields(cls)], where)
        values: dict[str, Any] = {}
        for key, value in given.items():
            what = f"{where}: {key!r}"
            if key == "clock":
                values[key] = flag(value, what)
            elif key == "max_stalled_count":
                values[key] = whole(value, what, 0, 1_000_000)
            else:
                values[key] = milliseconds(value, what)
                if values[key] < 50:
                    raise ConfigurationError(f"{what} must be at least 50 ms, not {value!r}")
        return cls(**values)
