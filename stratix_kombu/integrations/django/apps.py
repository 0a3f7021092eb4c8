"""The Django app: to be listed in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings
from django.utils.module_loading import autodiscover_modules

BACKEND = "stratix_kombu.integrations.django.tasks.StratixBackend"


class StratixConfig(AppConfig):
    """Imports the module ``jobs`` of each installed app, where its handlers are, and readies the ``TASKS`` backends."""

    name = "stratix_kombu.integrations.django"
    label = "stratix"
    verbose_name = "Background jobs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from stratix_kombu.integrations.django import checks  # noqa: F401  # it registers them

        autodiscover_modules("jobs")
        ours = [alias for alias, one in (getattr(settings, "TASKS", None) or {}).items() if one["BACKEND"] == BACKEND]
        if ours:
            from stratix_kombu.integrations.django.tasks import task_backends

            for alias in ours:
                task_backends[alias].handle()
