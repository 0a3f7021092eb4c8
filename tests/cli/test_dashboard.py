"""``dashboard``: who is let in, where it listens, how it ends."""

from __future__ import annotations

import re
import signal
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest

from stratix_kombu import Application
from tests.cli.command_processes import Process, running
from tests.cli.conftest import Cli
from tests.services import free_port


def _url(process: Process) -> str:
    process.says("Ctrl-C ends it")
    found = re.search(r"http://\S+/", process.err)
    assert found is not None
    return found[0]


def _get(url: str, path: str = "", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_it_shows_and_changes_and_ends(app: Application, config: Path) -> None:
    queue = app.queue.get_queue("emails")
    job = queue.add("welcome")
    with running(config.parent, "dashboard", "--config", str(config), "--port", "0") as process:
        url = _url(process)
        assert url.startswith("http://127.0.0.1:")
        status, page = _get(url)
        assert (status, "emails" in page) == (200, True)
        assert _get(url, "healthz") == (200, '{"ok": true}\n')
        assert _get(url, Host="evil.example")[0] == 403
        request = urllib.request.Request(
            f"{url}api/job/cancel", f'{{"id": "{job.id}"}}'.encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        assert job.get_state() == "failed"
        process.says(f"dashboard: 'local': cancel queue='emails' jobs='{job.id}'")
        assert process.ended(signal.SIGTERM) == 0


def test_ctrl_c(config: Path) -> None:
    with running(config.parent, "dashboard", "--config", str(config), "--port", "0") as process:
        _url(process)
        assert process.ended(signal.SIGINT) == 130


@pytest.mark.parametrize("word", ["password", "token"])
def test_another_address_needs_a_password_or_a_token(config: Path, cli: Cli, word: str) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com"):
        assert "others can reach it" in cli.refused("dashboard", "--host", host, "--port", "0", code=2)
    assert "is empty" in cli.refused("dashboard", f"--{word}", "", code=2)
    given = ["--config", str(config), "--port", "0", "--host", "0.0.0.0", f"--{word}", "s3cret"]
    with running(config.parent, "dashboard", *given) as process:
        url = _url(process).replace("0.0.0.0", "127.0.0.1")
        assert _get(url)[0] == 401
        assert _get(url, Authorization="Basic " + b64encode(b"admin:s3cret").decode())[0] == 200
        assert _get(url, Authorization="Bearer s3cret")[0] == (200 if word == "token" else 401)


def test_a_port_that_is_taken(config: Path, cli: Cli) -> None:
    import socket

    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = str(taken.getsockname()[1])
        assert "cannot listen" in cli.refused("dashboard", "--port", port, code=2)
