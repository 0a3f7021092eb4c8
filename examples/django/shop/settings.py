"""Settings of the shop."""

import os
import sys
from pathlib import Path

SECRET_KEY = "for an example"
INSTALLED_APPS = ["django.contrib.contenttypes", "shop", "stratix_kombu.integrations.django"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DB", Path(__file__).parent.parent / "db.sqlite3"),
    }
}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"stratix_kombu": {"handlers": ["console"], "level": "WARNING"}},
}

STRATIX = {
    "redis": {"url": os.environ.get("SHOP_REDIS", "redis://localhost:6379/0")},
    "namespace": os.environ.get("SHOP_NAMESPACE", "shop"),
    "inline": "test" in sys.argv,  # in tests a job runs at once, and sees what the test has stored
}
TASKS = {
    "default": {
        "BACKEND": "stratix_kombu.integrations.django.tasks.StratixBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"attempts": 2, "backoff": 10},
    }
}
