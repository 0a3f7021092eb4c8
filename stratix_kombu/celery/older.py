"""What the configured result backend still has from before the bridge. It is asked only where the store knows nothing,
so it may delay nobody when it cannot be reached: it is asked once, briefly, and not again for a while."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from textwrap import shorten
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from celery import states
from celery.backends.rpc import RPCBackend
from kombu.exceptions import OperationalError

from stratix_kombu.errors import Unavailable
from stratix_kombu.model.secrets import masked

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge

ACTION = "older_results_failed"
"""In the log: it cannot be reached."""
PAUSE_S = 5.0
"""How long it is not asked after it could not be reached, or as long as it took to find that out."""
ANSWER_S = 5.0
"""How long a Redis may take to answer. Celery's default is two minutes."""
MOST_SAID = 300
"""How much of an error is told, in letters."""
_OUTAGES = re.compile(r"Operational|Interface|Connect|Timeout|Unavailable|NoHost|Gateway|Network")
"""How the errors of servers that cannot be reached are named; those of databases by PEP 249."""


class BackendUnavailable(Unavailable):
    """The configured result backend cannot be reached."""

    kind = "result backend"


class Older:
    """That backend as it is asked; while it cannot be reached, it knows nothing."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._previous: Any = None
        self._reader: Any = None
        self._quiet_until = 0.0
        """When it may be asked again; 0 = it has answered."""

    def __bool__(self) -> bool:
        """Whether it may have results. ``rpc://`` sends each to its producer as a message, and keeps none."""
        kind = self._bridge.previous_backend_kind
        return kind is not None and not issubclass(kind[0], RPCBackend)

    @property
    def has_groups(self) -> bool:
        """Not every backend keeps saved groups."""
        kind = self._bridge.previous_backend_kind
        return bool(self) and kind is not None and hasattr(kind[0], "_save_group")

    def get_task_meta(self, task_id: str, cache: bool = False) -> dict[str, Any]:
        """As of a task that nobody knows while it cannot be reached."""
        unknown = {"task_id": task_id, "status": states.PENDING, "result": None, "traceback": None, "children": None}
        found: dict[str, Any] = self._ask(lambda backend: backend.get_task_meta(task_id, cache=cache), unknown)
        return found

    def restore_group(self, group_id: str) -> Any:
        return self._ask(lambda backend: backend.restore_group(group_id, cache=False), None)

    def delete_group(self, group_id: str) -> None:
        self._ask(lambda backend: backend.delete_group(group_id), None)

    def forget(self, task_id: str) -> None:
        with suppress(NotImplementedError):  # not every backend can
            self._ask(lambda backend: backend.forget(task_id), None)

    def mark_as_revoked(self, task_id: str, reason: str, state: str) -> None:
        self._ask(lambda backend: backend.mark_as_revoked(task_id, reason, state=state), None)

    def _ask(self, what: Callable[[Any], Any], otherwise: Any) -> Any:
        began = time.monotonic()
        was_quiet = self._quiet_until
        if began < was_quiet:
            return otherwise
        if was_quiet:  # one asks whether it is back; the others do not wait for that
            self._quiet_until = began + PAUSE_S
        try:
            answer = what(self._brief())
        except Exception as error:
            if not self._is_outage(error):
                raise
            took = time.monotonic() - began
            self._quiet_until = began + took + max(took, PAUSE_S)
            self._bridge.engine.report("", self._unavailable(error), ACTION)
            return otherwise
        if self._quiet_until:
            self._quiet_until = 0.0
            self._bridge.engine.reached("", ACTION)
        return answer

    def _brief(self) -> Any:
        """The backend without its own retries, which may go on for ever, beside the one that the project uses."""
        previous = self._bridge.previous_backend
        if previous is not self._previous:
            reader = object.__new__(type(previous))  # pickling, as copy.copy does, gives it another application
            reader.__dict__.update(previous.__dict__)
            reader.always_retry = False
            given = getattr(previous, "connparams", None)
            if isinstance(given, dict):  # Redis; it has a client with other options then
                reader.__dict__.pop("client", None)
                reader.connparams = {**given, **_brief_options(given)}
            self._reader, self._previous = reader, previous  # in this order: others may be here, too
        return self._reader

    def _is_outage(self, error: Exception) -> bool:
        """Whether the server cannot be reached, rather than that what it answers cannot be read."""
        if isinstance(error, (OSError, OperationalError)):
            return True
        if self._reader is not None and self._reader.exception_safe_to_retry(error):
            return True
        return any(_OUTAGES.search(one.__name__) for one in type(error).__mro__)

    def _unavailable(self, error: Exception) -> BackendUnavailable:
        """What is to be said of it, without credentials."""
        assert self._bridge.previous_backend_kind is not None
        cls, url = self._bridge.previous_backend_kind
        said = shorten(f"{type(error).__name__}: {error}", MOST_SAID, placeholder=" ...")
        secrets = [*_secrets_in(url or ""), self._bridge.celery.conf.redis_password]
        return BackendUnavailable(masked((url or cls.__name__).partition("?")[0], secrets), masked(said, secrets))


def _secrets_in(url: str) -> list[str]:
    """Its passwords, as they are written and as they are meant; there may be several addresses in it."""
    written = [part.partition(":")[2] for part in re.findall(r"://([^/?#]*)@", url)]
    written += re.findall(r"[?&]\w*(?:password|secret|token)\w*=([^&;]*)", url)
    return [one for part in written if part for one in (part, unquote(part))]


def _brief_options(given: dict[str, Any]) -> dict[str, Any]:
    """How long a Redis may take: not longer than the project says. A Unix socket has fewer of these options."""
    named = ("socket_timeout", "socket_connect_timeout")
    return {name: min(float(given[name] or ANSWER_S), ANSWER_S) for name in named if name in given}
