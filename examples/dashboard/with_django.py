"""The dashboard in Django's admin, and at a path of its own, in one file: ``python with_django.py migrate``,
``createsuperuser``, ``runserver``."""

import os
import sys

import django
from django.conf import settings

settings.configure(
    DEBUG=False,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="for an example",
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "stratix_kombu.integrations.django",  # that is all for the admin
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("EXAMPLE_DB", "example.sqlite3")}
    },
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    STRATIX={},  # stratix.toml, or the environment
    STRATIX_DASHBOARD={"title": "Shop"},
)
django.setup()

from django.contrib import admin  # noqa: E402  # they need the settings
from django.urls import path  # noqa: E402

from stratix_kombu.integrations.django.dashboard import urls  # noqa: E402

urlpatterns = [path("admin/", admin.site.urls), path("ops/jobs/", urls())]

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
