"""django-celery-results with ``results="also"``, and django-celery-beat."""

from __future__ import annotations

from tests.companions.programs import both


def test_rows_of_results(redis_url: str) -> None:
    found = both("with_django", redis_url)
    assert found["values"] == [3, "ValueError", 1, 4, "ValueError"]
    assert len(found["rows"]) == 10


def test_periodic_tasks_of_the_database(redis_url: str) -> None:
    assert both("with_django", redis_url, beat=True) == [1, True, False]
