"""A producer whose messages are signed, and that accepts no others: what a process says of that holds for all of it."""

from __future__ import annotations

import json
import sys

from celery import chord

from tests.celery.beside import outcome
from tests.celery.project import app
from tests.celery.results import got

if __name__ == "__main__":
    add, total, flaky = (app.tasks[f"proj.{name}"] for name in ("add", "total", "flaky"))
    results = [
        add.delay(1, 2),
        (add.s(1, 1) | add.s(2)).apply_async(),
        chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async(),
        add.apply_async((1, 1), countdown=0.1),
        flaky.delay("x", 1, 0.01),
    ]
    refused = add.apply_async((1, 1), serializer="json")
    found = [outcome(lambda one=one: got(one, 20)) for one in results]  # type: ignore[misc]
    print(json.dumps([*found, refused.state in ("PENDING", "FAILURE")]), file=sys.__stdout__)
