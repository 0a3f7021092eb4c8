"""The application."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery, Task

from stratix_kombu.celery import install
from tests.celery.stranger.settings import PREFIX


def note(line: str) -> None:
    if path := os.environ.get("STRANGER_NOTES"):
        with Path(path).open("a") as file:
            file.write(f"{line}\n")


class ShopTask(Task):
    """Passes the tenant on, and notes what happens."""

    abstract = True

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        headers = {"tenant": "nobody", **(options.pop("headers", None) or {})}
        return super().apply_async(args, kwargs, headers=headers, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tenant = (self.request.headers or {}).get("tenant")
        note(f"called {self.name} for {tenant}")
        return super().__call__(*args, **kwargs)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note(f"before_start {self.name} {args} {kwargs}")

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        note(f"on_success {self.name} {args} {kwargs}")

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(f"on_failure {self.name} {exc!r} {type(einfo).__name__}")

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(f"on_retry {self.name} {exc!r} {self.request.retries}")

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(f"after_return {self.name} {status} {type(einfo).__name__}")


class ShopCelery(Celery):
    task_cls = ShopTask

    def gen_task_name(self, name: str, module: str) -> str:
        own = module.removeprefix("tests.celery.stranger.").removesuffix(".tasks")
        return str(super().gen_task_name(name, own))


def make(current: bool) -> Celery:
    made = ShopCelery("stranger", set_as_current=current)
    made.config_from_object("tests.celery.stranger.settings", namespace="CELERY")
    if os.environ.get("STRANGER_BRIDGE"):
        made.stratix = install(made, namespace=PREFIX, worker={"lease_duration": 5000, "redelivery_grace": 2000})
    return made


app = make(current=True)
app.autodiscover_tasks(["tests.celery.stranger.shop"])
app.conf.update(result_expires=3600, task_send_sent_event=True)
