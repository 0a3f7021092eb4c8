"""What of a job's values is shown: the user's hook has the last word, and its failure shows nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from stratix_kombu.queue.job import Job

logger = logging.getLogger("stratix_kombu.dashboard")

Part = Literal["data", "result", "progress", "logs", "error", "headers"]
Redact = Callable[[str, Any, "Job | None"], Any]
HIDDEN = "(hidden: the redaction hook failed)"


class Redaction:
    """Passes values through the hook."""

    def __init__(self, hook: Redact | None) -> None:
        self._hook = hook

    def __call__(self, part: Part, value: Any, job: Job | None = None) -> Any:
        """The value as it may be shown."""
        if self._hook is None or value is None:
            return value
        try:
            return self._hook(part, value, job)
        except Exception:
            logger.exception("the redaction hook of the dashboard raised", extra={"action": "dashboard_redact_failed"})
            return HIDDEN
