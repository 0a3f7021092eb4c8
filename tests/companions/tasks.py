"""Tasks that several of the programs have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from celery import Celery


def define(app: Celery) -> SimpleNamespace:
    """Add them to an application; they are attributes of what this returns."""

    @app.task(name="proj.add")
    def add(x: Any, y: Any = 0) -> Any:
        return x + y

    @app.task(name="proj.total")
    def total(numbers: Any) -> Any:
        return sum(numbers)

    @app.task(name="proj.boom")
    def boom() -> None:
        raise ValueError("boom")

    @app.task(name="proj.again", bind=True)
    def again(self: Any) -> Any:
        if not self.request.retries:
            raise self.retry(countdown=0.05)
        return 1

    return SimpleNamespace(add=add, total=total, boom=boom, again=again)
