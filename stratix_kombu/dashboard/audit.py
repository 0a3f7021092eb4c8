"""Who did what: a line of the log for each action, and a hook."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger("stratix_kombu.dashboard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action, after it was tried."""

    user: Any
    """What ``authorize`` returned."""
    action: str
    """What was done, such as ``retry``."""
    queue: str
    jobs: tuple[str, ...] = ()
    """Ids of the jobs that were named; of jobs that were selected by a filter there are none."""
    about: str = ""
    """What else was said: the filter, the new value."""
    outcome: str = "done"
    """``done`` with what came of it, or the error."""
    peer: str = ""
    """The address that the request came from."""


Audit = Callable[[Action], object]


def record(action: Action, hook: Audit | None) -> None:
    """Write the line, and call the hook. An exception of the hook is logged: the action has happened."""
    which = ", ".join(action.jobs[:10]) + (f" and {len(action.jobs) - 10} more" if len(action.jobs) > 10 else "")
    said = {name: getattr(action, name) for name in ("queue", "about", "outcome", "peer")}
    logger.info(
        "dashboard: %r: %s queue=%r jobs=%r about=%r: %r",
        str(action.user),
        action.action,
        action.queue,
        which,
        action.about,
        action.outcome,
        extra={"action": f"dashboard_{action.action}", "user": str(action.user), "jobs": list(action.jobs), **said},
    )
    if hook is not None:
        try:
            hook(action)
        except Exception:
            logger.exception("the audit hook of the dashboard raised", extra={"action": "dashboard_audit_failed"})
