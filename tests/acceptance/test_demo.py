"""The main job, as a user runs it, on every driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def demo(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stratix_kombu", "demo", *arguments]
    environment = {**os.environ, "COLUMNS": "140"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=150, env=environment)


def test_the_whole_standard_library_in_memory(tmp_path: Path) -> None:
    done = demo(folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one job each, over memory (store memory://)" in done.stdout
    assert "The sums are those of a straight count in one process." in done.stdout
    assert "Longest functions" in done.stdout
    failed = [line for line in done.stdout.splitlines() if line.startswith("failed: ")]
    assert all("not valid in this Python version" in line for line in failed)
    foreign = Path(sysconfig.get_path("stdlib"), "lib2to3", "tests", "data")  # Python as a system packs it has no tests
    assert failed or not foreign.is_dir(), "files of another Python are failed jobs with a reason"


def test_a_file_in_place_of_a_broker(tmp_path: Path) -> None:
    for _ in range(2):  # the second one finds the file of the first
        done = demo("--durable", "--limit", "40", folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "over sqlite (store sqlite:///stratix-demo.db)" in done.stdout
        assert "The sums are those of a straight count in one process." in done.stdout
    assert (tmp_path / "stratix-demo.db").exists()
    assert demo("--durable", "--driver", "redis", folder=tmp_path).returncode == 2


@pytest.mark.parametrize("driver", ["redis", "rabbitmq", "sqs"])
def test_the_same_over_a_real_broker(driver: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store = request.getfixturevalue("redis_url")
    options = {"rabbitmq": _rabbitmq, "sqs": _sqs}
    text = options[driver](request) if driver in options else f'url = "{store}"'
    config = tmp_path / "stratix.toml"
    config.write_text(f'store = "{store}"\n[{driver}]\n{text}\n', encoding="utf-8")
    done = demo("--driver", driver, "--config", str(config), "--limit", "150", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"150 files of the standard library, one job each, over {driver} (store redis://" in done.stdout
    assert "The sums are those of a straight count in one process." in done.stdout


def _rabbitmq(request: pytest.FixtureRequest) -> str:
    return f'url = "{request.getfixturevalue("amqp_url")}"'


def _sqs(request: pytest.FixtureRequest) -> str:
    return (
        f'endpoint_url = "{request.getfixturevalue("sqs_url")}"\n'
        '[sqs.aws]\nregion = "us-east-1"\n[sqs.aws.credentials]\naccess_key_id = "x"\nsecret_access_key = "y"'
    )


def test_what_cannot_be_used_is_named_in_one_line(tmp_path: Path) -> None:
    done = demo("--driver", "redsi", folder=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'redis'" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "stratix_kombu", "demo", "--concurrency", "1"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has them ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert "one job each" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "interrupted" in out
    assert "Traceback" not in err
