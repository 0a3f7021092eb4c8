"""Transports of Kombu that have no driver of their own, by their URL alone and with the section ``kombu``."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import ConfigurationError, create_app
from stratix_kombu.config.settings import load_settings
from stratix_kombu.drivers.folders import FOLDER

URLS = {"filesystem": "filesystem://{0}/messages", "sqlite": "sqla+sqlite:///{0}/messages.db"}


def settings(**given: Any) -> dict[str, Any]:
    return {"store": "memory://", "namespace": f"u{uuid.uuid4().hex[:8]}", **given}


def runs_jobs(given: dict[str, Any]) -> None:
    app = create_app(given)
    queue = app.queue.get_queue("work")
    queue.process(lambda job: job.data * 2)
    with app:
        app.start()
        jobs = queue.add_bulk([{"name": "n", "data": number} for number in range(3)])
        assert [job.wait_until_finished(30) for job in jobs] == [0, 2, 4]


@pytest.mark.parametrize("transport", URLS)
def test_by_the_url_alone(transport: str, tmp_path: Path) -> None:
    runs_jobs(settings(driver=URLS[transport].format(tmp_path)))


@pytest.mark.parametrize("transport", URLS)
def test_by_the_section(transport: str, tmp_path: Path) -> None:
    runs_jobs(settings(kombu={"url": URLS[transport].format(tmp_path)}))


@pytest.mark.parametrize("how", ["driver", "section"])
def test_transport_options_have_a_place(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    section: dict[str, Any] = {
        "transport_options": {"data_folder_in": str(folder), "data_folder_out": str(folder), "polling_interval": 0.05}
    }
    url = f"filesystem://{tmp_path}/others"
    runs_jobs(settings(driver=url, kombu=section) if how == "driver" else settings(kombu={**section, "url": url}))
    assert folder.is_dir()
    assert not (tmp_path / "others" / "messages").exists()
    assert (tmp_path / "others" / "control").is_dir()


def test_a_url_without_a_path_has_its_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = create_app(settings(driver="filesystem://"))
    app.queue.get_queue("work").add("n")
    assert len(list((tmp_path / FOLDER / "messages").glob("*.msg"))) == 1
    app.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"'data_folder_in': .*file/messages cannot be a folder"):
        _ = create_app(settings(driver=f"filesystem://{tmp_path}/file")).queue


def test_a_message_appears_when_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, seen = os.replace, []

    def complete(part: Path, name: Path) -> None:
        seen.append((list(tmp_path.rglob("*.msg")), json.loads(part.read_text())["headers"]))
        replace(part, name)

    monkeypatch.setattr("stratix_kombu.drivers.filesystem.os.replace", complete)
    app = create_app(settings(driver=f"filesystem://{tmp_path}"))
    job = app.queue.get_queue("work").add("n")
    app.close()
    ((before, headers),) = seen
    assert before == []
    assert job.id in headers.values()
    assert [one.suffix for one in (tmp_path / "messages").iterdir()] == [".msg"]


def test_settings_of_the_section() -> None:
    def load(given: dict[str, Any]) -> Any:
        return load_settings({"store": "memory://", **given}, environment={}, drivers=("memory", "redis", "kombu"))

    assert load({"kombu": {"url": "x://y"}}).driver == "kombu"
    assert load({"driver": "x://y", "kombu": {"transportOptions": {"a": 1}}}).driver_options == {
        "transport_options": {"a": 1}
    }
    assert load({"driver": "x://y", "kombu": {"url": "x://y"}}).driver_options == {}
    for given, words in (
        ({"driver": "x://y", "kombu": {"url": "x://z"}}, "the section 'kombu' has another 'url'"),
        ({"redis": {"host": "a"}, "kombu": {"url": "x://z"}}, "set 'driver' to one of them"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            load(given)
    for given, words in (
        (settings(driver="kombu"), "needs a 'url'"),
        (settings(kombu={"url": "x://y", "transport_option": {}}), "did you mean 'transport_options'"),
        ({"kombu": {"url": "sqla+sqlite://"}}, "needs a 'store'"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            _ = create_app(given).queue
