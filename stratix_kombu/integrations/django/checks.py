"""System checks: ``manage.py check``; with ``--deploy`` the servers are contacted, too."""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.core.checks import register
from django.core.exceptions import ImproperlyConfigured

from stratix_kombu.errors import StratixError
from stratix_kombu.integrations.django import get_app


@register("stratix")
def check_settings(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """Whether ``STRATIX`` can be used."""
    try:
        get_app().queue.describe()
    except (StratixError, ImproperlyConfigured) as problem:
        return [checks.Error(f"the setting STRATIX cannot be used: {problem}", id="stratix.E001")]
    return []


@register("stratix", deploy=True)
def check_servers(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """Whether the broker and the store answer, and jobs reach other processes."""
    try:
        manager = get_app().queue
    except (StratixError, ImproperlyConfigured):
        return []  # the other check says why
    away = [what for what, answers in manager.check_health().items() if not answers]
    found: list[checks.CheckMessage] = [checks.Error(f"the {one} does not answer", id="stratix.E002") for one in away]
    if not manager.shared:
        where = f"jobs are seen by the process that adds them alone: {manager.describe()}"
        found.append(checks.Warning(where, hint="STRATIX = {'redis': {'url': ...}}", id="stratix.W001"))
    return found
