"""The application: https://docs.celeryq.dev/en/stable/userguide/application.html

Nothing is sent: what the page says of an application holds for one with the bridge, which is installed at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, Task, current_app, shared_task
from celery.local import PromiseProxy

from stratix_kombu.celery import install


class Config:
    enable_utc = True
    timezone = "Europe/London"


class OtherTask(Task):
    abstract = True
    queue = "hipri"


def naming(app: Celery) -> Any:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    return [add.name.rpartition(".")[2], app.tasks[add.name] is not None, app.main]


def updating(app: Celery) -> Any:
    app.conf.update(enable_utc=True, timezone="Europe/London")
    app.conf.task_serializer = "pickle"
    return [app.conf.timezone, app.conf.task_serializer]


def from_object(app: Celery) -> Any:
    app.config_from_object(Config)
    return [app.conf.timezone, app.conf.enable_utc]


def from_name(app: Celery) -> Any:
    app.config_from_object(f"{__name__}:Config")
    return app.conf.timezone


def from_environment(app: Celery) -> Any:
    os.environ["DOCUMENTED_CONFIG"] = f"{__name__}:Config"
    try:
        app.config_from_envvar("DOCUMENTED_CONFIG")
    finally:
        del os.environ["DOCUMENTED_CONFIG"]
    return app.conf.timezone


def set_after_it(app: Celery) -> Any:
    app.config_from_object(Config)
    app.conf.timezone = "UTC"
    return app.conf.timezone


def defaults(app: Celery) -> Any:
    app.add_defaults({"own_setting": 1})
    return app.conf.own_setting


def censored(app: Celery) -> Any:
    app.conf.update(redis_password="secret", own_api_key="secret")
    return "secret" in app.conf.humanize(with_defaults=False, censored=True)


def table(app: Celery) -> Any:
    app.conf.timezone = "Europe/London"
    return app.conf.table(with_defaults=False, censored=True)["timezone"]


def lazy(app: Celery) -> Any:
    @app.task
    def later() -> None: ...

    before = [type(later) is PromiseProxy, later.__evaluated__()]
    repr(later)
    return [*before, later.__evaluated__()]


def finalized(app: Celery) -> Any:
    @shared_task(name="documented.everywhere")
    def everywhere() -> None: ...

    @app.task(name="documented.private", shared=False)
    def private() -> None: ...

    app.finalize()
    return [
        "documented.everywhere" in app.tasks,
        "documented.private" in app.tasks,
        app.tasks["documented.private"].app is app,
    ]


def current(app: Celery) -> Any:
    before = current_app._get_current_object()
    app.set_current()
    try:
        return current_app._get_current_object() is app
    finally:
        before.set_current()


def base(app: Celery) -> Any:
    @app.task(base=OtherTask, shared=False)
    def add() -> None: ...

    return [isinstance(add._get_current_object(), OtherTask), add.queue]


def default_base(app: Celery) -> Any:
    app.Task = OtherTask

    @app.task(shared=False)
    def add() -> None: ...

    return [OtherTask in add.__class__.mro(), add.queue]


def after_configuration(app: Celery) -> Any:
    told: list[str] = []
    app.on_after_configure.connect(lambda **_: told.append("configured"), weak=False)
    app.on_after_finalize.connect(lambda **_: told.append("finalized"), weak=False)
    app.finalize()
    assert app.conf.timezone is None
    return sorted(told)


def named_otherwise(app: Celery) -> Any:
    app.gen_task_name = lambda name, module: f"short.{name}"  # type: ignore[method-assign]

    @app.task(shared=False)
    def renamed() -> None: ...

    return renamed.name


STATEMENTS: list[tuple[str, Callable[[Celery], Any], Any]] = [
    ("Whenever you define a task, that task will also be added to the local registry", naming, ["add", True, "proj"]),
    ("update several keys at once by using the update method", updating, ["Europe/London", "pickle"]),
    ("Using a configuration class/object", from_object, ["Europe/London", True]),
    ("can take the fully qualified name of a Python module, or … attribute", from_name, "Europe/London"),
    ("takes the configuration module name from an environment variable", from_environment, "Europe/London"),
    ("If you want to set additional configuration you should do so after", set_after_it, "UTC"),
    ("You can even add new default sources by using the add_defaults method", defaults, 1),
    ("A configuration setting will be censored if the name contains any of these", censored, False),
    ("work with the configuration as a dictionary", table, "Europe/London"),
    ("the task isn't created until you use the task", lazy, [True, False, True]),
    ("Copy tasks that must be shared between apps … private to the app it's bound to", finalized, [True, True, True]),
    ("Set itself as the current app", current, True),
    ("You can specify a different base class using the base argument", base, [True, "hipri"]),
    ("change the default base class for an application by changing its Task attribute", default_base, [True, "hipri"]),
    ("on_after_configure is sent after the app is set up", after_configuration, ["configured", "finalized"]),
    ("change the automatic naming behavior by overriding gen_task_name", named_otherwise, "short.renamed"),
]


@pytest.mark.parametrize(("words", "script", "gives"), STATEMENTS, ids=[one[1].__name__ for one in STATEMENTS])
def test_page(words: str, script: Callable[[Celery], Any], gives: Any) -> None:
    stock, bridged = (Celery("proj", broker="memory://", set_as_current=False) for _ in range(2))
    installed = install(bridged, namespace="documented")
    try:
        assert [script(stock), script(bridged)] == [gives] * 2, words
    finally:
        installed.close()
