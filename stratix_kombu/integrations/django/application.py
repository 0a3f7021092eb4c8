"""The application of a Django project, for programs that are not started by ``manage.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django
from django.apps import apps

from stratix_kombu.integrations.django import get_app

if TYPE_CHECKING:
    from stratix_kombu.application import Application


def application() -> Application:
    """Readies Django, if that was not done; ``DJANGO_SETTINGS_MODULE`` says which project.

    ``stratix-kombu worker --app stratix_kombu.integrations.django.application:application``
    """
    if not apps.ready:
        django.setup()
    return get_app()
