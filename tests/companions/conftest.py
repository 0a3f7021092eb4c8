"""What stands beside Celery in projects: each test runs one program with stock Celery and with the bridge.

``tox -e companions`` has all packages, in the versions of ``requirements.txt``. Elsewhere only those tests are there
whose packages are installed.
"""

from __future__ import annotations

from importlib.util import find_spec

NEEDS = {
    "test_sentry.py": "sentry_sdk",
    "test_opentelemetry.py": "opentelemetry.instrumentation.celery",
    "test_new_relic.py": "newrelic",
    "test_flower.py": "flower",
    "test_django.py": "django_celery_results",
    "test_redbeat.py": "redbeat",
    "test_once.py": "celery_once",
    "test_singleton.py": "celery_singleton",
    "test_batches.py": "celery_batches",
}


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package it is in
        return False


collect_ignore = [file for file, module in NEEDS.items() if not _is_there(module)]
