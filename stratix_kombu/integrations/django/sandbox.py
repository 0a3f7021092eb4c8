"""What a sandbox imports before a handler of the project: it readies Django."""

from __future__ import annotations

import os
from typing import Any

import django
from django.apps import apps

from stratix_kombu.integrations.django.connections import connections_of_a_job


def connections_of_a_child(job: Any) -> Any:
    """Middleware in the sandbox, as ``connections_of_a_job`` is in the worker's process."""
    return connections_of_a_job(job)


if not apps.apps_ready and "DJANGO_SETTINGS_MODULE" in os.environ:  # a process that was started for a handler
    django.setup()
