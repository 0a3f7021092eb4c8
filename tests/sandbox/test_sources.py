"""Where a child finds a handler: functions by module and name, files, the main script; and what is refused, and how."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, JobFailed, create_app
from stratix_kombu.worker.sandbox.source import source_of
from tests.sandbox import handlers

WAIT_S = 60


class Methods:
    def bound(self, job: Any) -> None: ...

    def __call__(self, job: Any) -> None: ...


@pytest.fixture(scope="module")
def app() -> Iterator[Application]:
    with create_app({"driver": "memory", "namespace": f"box{uuid.uuid4().hex[:8]}"}) as app:
        app.start()
        yield app


def test_files(app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a queue that is not sandboxed too, by a relative path too; sync and async, with neighbours to import."""
    (tmp_path / "neighbour.py").write_text("word = 'hello'\n")
    (tmp_path / "plain.py").write_text(
        "import os\nfrom neighbour import word\n\ndef process(job):\n    return [word, job.data, os.getpid()]\n"
    )
    (tmp_path / "coroutine.py").write_text("async def process(job):\n    return job.name\n")
    (tmp_path / "raises.py").write_text("raise OSError('no such licence')\n\ndef process(job): ...\n")
    monkeypatch.chdir(tmp_path)
    queue = app.queue.create_queue("files")
    queue.process("plain", "plain.py")
    queue.process("raises", str(tmp_path / "raises.py"))
    queue.process(tmp_path / "coroutine.py")
    word, data, pid = queue.add("plain", 5).wait_until_finished(timeout=WAIT_S)
    assert (word, data) == ("hello", 5)
    assert pid != os.getpid()
    assert queue.add("any other").wait_until_finished(timeout=WAIT_S) == "any other"
    with pytest.raises(JobFailed, match=r"cannot load the handler .*raises\.py:process: OSError: no such licence"):
        queue.add("raises").wait_until_finished(timeout=WAIT_S)
    assert queue.add("plain", 6).wait_until_finished(timeout=WAIT_S)[1] == 6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"cannot be read: No such file.*working directory.*with_name"),
        ("", r"defines no process\(job\)"),
        ("def other(job): ...\nclass A:\n    x = 1\n", r"defines no process\(job\)"),
        ("def process(job:\n", r"is not Python: .*line 1"),
        ("x = '\0'\n", "is not Python"),
    ],
)
def test_files_that_are_refused_at_once(app: Application, tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "handler.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError, match=rf"handler\.py {words}"):
        app.queue.get_queue("refused").process("n", str(file))


@pytest.mark.parametrize(
    "text",
    [
        "async def process(job): ...",
        "from elsewhere import run as process",
        "from elsewhere import *",
        "if True:\n    process = print\nelse:\n    process = None",
        "try:\n    import process\nexcept ImportError:\n    def process(job): ...",
    ],
)
def test_files_may_define_it_in_many_ways(tmp_path: Path, text: str) -> None:
    file = tmp_path / "handler.py"
    file.write_text(text)
    assert source_of(file).where == str(file)


def _inner() -> Callable[[Any], None]:
    def inner(job: Any) -> None: ...

    return inner


@pytest.mark.parametrize(
    "handler",
    [lambda job: None, _inner(), Methods().bound, Methods(), partial(handlers.fine)],
    ids=["lambda", "closure", "method", "object", "partial"],
)
def test_functions_that_no_other_process_can_find_are_refused(app: Application, handler: Any) -> None:
    queue = app.queue._queues.get("strict") or app.queue.create_queue("strict", processor={"sandboxed": True})
    with pytest.raises(ConfigurationError, match=r"by module and name, not .*: move it to the top level of a module"):
        queue.process("n", handler)
    with pytest.raises(ConfigurationError, match="a function of the job, or the path of one"):
        queue.process("n", 5)


SCRIPT = """
import os
from stratix_kombu import create_app

print("imported by", __name__, flush=True)
app = create_app({"driver": "memory"})
queue = app.queue.create_queue("q", processor={"sandboxed": True})

@queue.process("n")
def handler(job):
    return __name__

"""
GUARD = "if __name__ == '__main__':\n"
RUN = "    with app:\n        app.start()\n        print(queue.add('n').wait_until_finished(timeout=60))\n"


def _run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=90, check=False)


def test_a_script_is_imported_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT + GUARD + RUN)
    assert _run("script.py", cwd=tmp_path).stdout.split("\n")[:2] == ["imported by __main__", "__mp_main__"]
    assert _run("-m", "script", cwd=tmp_path).stdout.split("\n")[:2] == ["imported by __main__", "script"]


def test_a_script_that_would_start_itself_in_the_child(tmp_path: Path) -> None:
    """Nothing is added twice, nothing is started, and the reason says what to do."""
    (tmp_path / "starts.py").write_text(SCRIPT + RUN.replace("\n    ", "\n").replace("    with", "with", 1))
    (tmp_path / "adds.py").write_text(SCRIPT + "queue.add('n')\n" + GUARD + RUN)
    for name, words in (("starts.py", "it would start the application"), ("adds.py", "it would add jobs")):
        done = _run(name, cwd=tmp_path)
        assert "cannot load the handler" in done.stderr
        assert f"{words}: put what only the main program should do under if __name__ == '__main__':" in done.stderr


def test_a_session_has_no_script(tmp_path: Path) -> None:
    done = _run("-c", SCRIPT, cwd=tmp_path)
    assert "'handler' is defined in a session or by 'python -c'" in done.stderr
