"""The name by which another process imports an application."""

from __future__ import annotations

import sys

from celery import Celery

from stratix_kombu.errors import ConfigurationError


def where_is(app: Celery) -> tuple[str, str]:
    """The module of an application, and its name there. Raises ConfigurationError if it is in none."""
    for module_name, module in sorted(sys.modules.items()):
        if module_name.partition(".")[0] not in ("celery", "kombu", "stratix_kombu"):
            for name, value in list(getattr(module, "__dict__", {}).items()):
                if value is app:
                    return module_name, name
    raise ConfigurationError(
        f"{app!r} cannot be passed to a spawned process: with the bridge it must be a name at the top "
        "level of a module, which that process imports"
    )
