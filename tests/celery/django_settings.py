"""Settings of Django, for a worker whose tasks use its database."""

import os

SECRET_KEY = "of no use to anybody"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("STRATIX_TEST_DATABASE", ":memory:")}
}
