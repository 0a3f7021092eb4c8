"""The Django project of the examples, in this process: over Redis, with its own database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2] / "examples" / "django"


def _enter(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(PROJECT))


@pytest.fixture(scope="session")
def _environment(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of the project, whose tables are there."""
    environment = {
        "SHOP_DB": str(tmp_path_factory.mktemp("shop") / "db.sqlite3"),
        "SHOP_REDIS": redis_url,
        "SHOP_NAMESPACE": f"shop{uuid.uuid4().hex[:8]}",
        "DJANGO_SETTINGS_MODULE": "shop.settings",
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        _enter(monkeypatch, environment)
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
    return environment


@pytest.fixture(scope="module")
def shop(_environment: dict[str, str]) -> Iterator[Path]:
    """Nothing is started. Its variables are this module's only: processes of other tests would be Django's, too."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _enter(monkeypatch, _environment)
        yield Path(_environment["SHOP_DB"]).parent
