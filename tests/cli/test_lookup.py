"""Which application is selected, and the error when there is none."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.cli.conftest import call

PLAIN = 'from stratix_kombu import create_app\napp = create_app({"driver": "memory"})\nother = 5\n'
CELERY = 'from celery import Celery\ncelery = Celery("proj", broker="memory://", set_as_current=False)\n'
BRIDGE = "from stratix_kombu.celery import install\ninstall(celery)\n"
FACTORY = "from stratix_kombu import create_app\ndef make():\n    return create_app({'driver': 'memory'})\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def module(folder: Path, text: str) -> str:
    """A module of that text; its name, which no other test has."""
    name = f"shop_{uuid.uuid4().hex[:8]}"
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return name


def settings_of(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("text", "attribute"),
    [(PLAIN, ""), (PLAIN, ":app"), (FACTORY, ":make"), (CELERY + BRIDGE, ""), (CELERY + BRIDGE, ":celery")],
)
def test_an_application_is_found(folder: Path, text: str, attribute: str) -> None:
    reference = module(folder, text) + attribute
    assert call("queues", "-A", reference).exit_code == 0
    assert call("--app", reference, "queues").exit_code == 0


def test_in_a_package_it_is_found_as_celery_does(folder: Path) -> None:
    package = module(folder, "")
    (folder / package).mkdir()
    (folder / package / "__init__.py").touch()
    (folder / package / "celery.py").write_text(CELERY + BRIDGE, encoding="utf-8")
    assert call("queues", "-A", package).exit_code == 0


def test_the_order_of_what_was_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own.toml").write_text('namespace = "own"\n', encoding="utf-8")
    monkeypatch.setenv("STRATIX_NAMESPACE", "alone")
    assert "alone" in settings_of("check")
    monkeypatch.delenv("STRATIX_NAMESPACE")
    (folder / "stratix.toml").write_text('namespace = "here"\n', encoding="utf-8")
    assert "here" in settings_of("check")
    monkeypatch.setenv("STRATIX_CONFIG", str(folder / "own.toml"))
    assert "own" in settings_of("check")
    monkeypatch.setenv("STRATIX_APP", module(folder, PLAIN.replace("memory", 'memory", "namespace": "of-app')))
    assert "of-app" in settings_of("check")
    assert "own" in settings_of("check", "--config", "own.toml")
    assert "own" in settings_of("--config", "own.toml", "check")
    result = call("check", "--config", "own.toml", "--app", "shop")
    assert (result.exit_code, "--app and --config were given" in result.stderr) == (2, True)


def test_nothing_was_said(folder: Path) -> None:
    result = call("queues")
    assert result.exit_code == 2
    assert "which application? Name it with --app module:attr" in result.stderr


@pytest.mark.parametrize(
    ("text", "attribute", "words"),
    [
        (PLAIN, ":ap", "has no 'ap'; did you mean 'app'?"),
        (PLAIN, ":other", "is a int, and must be an Application"),
        ("x = 1\n", "", "holds no applications: name one"),
        (PLAIN + "x = create_app()\ndel other\napplications = app\ndel app\n", "", "holds 2 applications"),
        ("def make(name): ...\n", ":make", "cannot be called without arguments"),
        ("import does_not_exist\n", "", "cannot be imported: ModuleNotFoundError: No module named 'does_not_exist'"),
        ("x = 1 +\n", "", "cannot be imported: SyntaxError"),
        ("x = 1\nx['a']\n", "", ".py, line 2)"),
        (CELERY, "", "does not have the bridge: call stratix_kombu.celery.install(app)"),
    ],
)
def test_what_is_no_application(folder: Path, text: str, attribute: str, words: str) -> None:
    result = call("queues", "-A", module(folder, text) + attribute)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["worker", "check", "worker --processes 2"])
@pytest.mark.parametrize("text", ["x = 1 +\n", "import does_not_exist\n", "1 / 0\n"])
def test_a_module_that_a_celery_application_lists(folder: Path, command: str, text: str) -> None:
    listed = module(folder, text)
    name = module(folder, f"{CELERY}celery.conf.include = [{listed!r}]\n{BRIDGE}")
    result = call(*command.split(), "-A", name)
    assert result.exit_code == 2
    assert "a module that the Celery application" in result.stderr
    assert f"{listed}.py, line 1)" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_module_that_is_not_there(folder: Path) -> None:
    name = module(folder, PLAIN)
    result = call("queues", "-A", name[:-1])
    assert result.exit_code == 2
    assert f"there is no module '{name[:-1]}'" in result.stderr
    assert f"did you mean '{name}'?" in result.stderr


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("{0}.job:app", "there is no module '{0}.job' for the application '{0}.job:app'; did you mean '{0}.jobs'?"),
        ("{0}/jobs.py", "; write '{0}.jobs' (looked in"),
    ],
)
def test_a_module_of_a_package(folder: Path, reference: str, said: str) -> None:
    package = f"shop{uuid.uuid4().hex[:8]}"
    (folder / package).mkdir()
    (folder / package / "__init__.py").touch()
    (folder / package / "jobs.py").write_text(PLAIN, encoding="utf-8")
    result = call("queues", "-A", reference.format(package))
    assert (result.exit_code, said.format(package) in result.stderr) == (2, True), result.stderr


def test_the_store_is_away(folder: Path) -> None:
    (folder / "stratix.toml").write_text('driver = "redis"\n[redis]\nport = 1\n', encoding="utf-8")
    result = call("queues")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "127.0.0.1:1" in result.stderr


def test_hooks_of_an_application_that_was_not_started_do_not_run(folder: Path) -> None:
    text = PLAIN + '@app.hook("before_close")\ndef no(): raise ValueError("closing")\n'
    assert call("queues", "-A", module(folder, text)).exit_code == 0


def test_the_demo_takes_settings_but_no_application(folder: Path) -> None:
    (folder / "own.toml").write_text('driver = "nothing"\n', encoding="utf-8")
    for arguments in (["--config", "own.toml", "demo"], ["demo", "--config", "own.toml"]):
        result = call(*arguments)
        assert (result.exit_code, "'nothing'" in result.stdout) == (2, True)
    assert "leave out --app" in call("--app", "shop", "demo").stderr
