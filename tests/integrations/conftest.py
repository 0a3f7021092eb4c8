"""The Django project of the examples, in this process: over Redis, with its own database."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2] / "examples" / "django"


@pytest.fixture(scope="session")
def shop(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Its tables are there; nothing is started."""
    folder = tmp_path_factory.mktemp("shop")
    os.environ.update(
        SHOP_DB=str(folder / "db.sqlite3"),
        SHOP_REDIS=redis_url,
        SHOP_NAMESPACE=f"shop{uuid.uuid4().hex[:8]}",
        DJANGO_SETTINGS_MODULE="shop.settings",
    )
    sys.path.insert(0, str(PROJECT))
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    yield folder
    for name in ("SHOP_DB", "SHOP_REDIS", "SHOP_NAMESPACE", "DJANGO_SETTINGS_MODULE"):
        del os.environ[name]
    sys.path.remove(str(PROJECT))
