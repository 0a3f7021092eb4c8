"""What passes between a worker and its children, and who gets the next child."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stratix_kombu import errors
from stratix_kombu.config.options import ProcessorOptions
from stratix_kombu.errors import JobCancelled, PayloadTooLarge, StratixError
from stratix_kombu.model.middleware import Middleware
from stratix_kombu.worker.sandbox.pool import SandboxPool
from stratix_kombu.worker.sandbox.protocol import (
    ATTRIBUTES,
    BrokenProtocol,
    Frames,
    SandboxFailure,
    decode_error,
    encode_error,
    frame,
)
from stratix_kombu.worker.sandbox.source import source_of
from tests.processes import lives, zombies
from tests.sandbox import handlers
from tests.waiting import WAIT_S, until


def test_frames_in_pieces() -> None:
    messages = [{"kind": "call", "text": "ä\ud800"}, {"kind": "ready"}]
    data = b"".join(frame(one, 100) for one in messages)
    frames = Frames(100)
    assert [one for byte in data for one in frames.feed(bytes([byte]))] == messages
    assert Frames(100).feed(data) == messages


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff", b"\0\0\0\2{]", b"\0\0\0\2[]", b"\0\0\0\2{}", b"\0\0\0\1\xff"], ids=repr
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenProtocol):
        Frames(1000).feed(data)
    with pytest.raises(PayloadTooLarge):
        frame({"kind": "x" * 1000}, 1000)


@pytest.mark.parametrize(
    "error",
    [
        errors.JobNotFound("a", "q"),
        errors.InvalidJobState("a", "active", "retry", ["failed"]),
        errors.StoreUnavailable("redis://host", "gone"),
        errors.PayloadTooLarge("x", 5, 3),
        ValueError("text"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_keep_class_text_and_attributes(error: Exception) -> None:
    again = decode_error(encode_error(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    if isinstance(error, StratixError):
        assert vars(again).keys() == vars(error).keys()
        pickle.dumps(again)


def test_errors_of_other_packages_become_their_text() -> None:
    class Foreign(Exception):
        pass

    assert str(decode_error(encode_error(Foreign(object)))).startswith("Foreign: <class 'object'>")
    decoded = decode_error(encode_error(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")))
    assert "UnicodeDecodeError" in str(decoded)


def job(name: str, data: Any = None) -> Any:
    known = {"id": name, "name": name, "queue_name": "q", "data": data, "attempts_made": 0, "cancelled": False}
    return SimpleNamespace(**{**dict.fromkeys(ATTRIBUTES), **known})


def test_first_come_first_served_and_who_is_cancelled_waits_no_longer(tmp_path: Path) -> None:
    pool = SandboxPool("q", 1, ProcessorOptions(), 1000, Middleware())
    source, gate, order = source_of(handlers.wait_for_file), tmp_path / "gate", list[str]()
    jobs = [job(name, str(gate)) for name in ("first", "second", "gone", "third")]
    refused: list[BaseException] = []

    def work(one: Any) -> None:
        try:
            pool.run(source, one, None)
            order.append(one.name)
        except JobCancelled as error:
            refused.append(error)

    threads = []
    for number, one in enumerate(jobs):
        threads.append(threading.Thread(target=work, args=(one,)))
        threads[-1].start()
        until(lambda number=number: pool._running + len(pool._waiting) == number + 1, WAIT_S)  # type: ignore[misc]
    with pool._changed:
        pool.size = 2  # as if another child were free this moment
        assert [pool._is_turn(ticket) for ticket in pool._waiting] == [True, False, False]
        pool.size = 1
    jobs[2].cancelled = True
    until(lambda: refused, WAIT_S)
    gate.touch()
    for thread in threads:
        thread.join(60)
    assert order == ["first", "second", "third"]
    pool.close()
    with pytest.raises(SandboxFailure, match="is being closed"):
        pool.run(source, jobs[0], None)


def test_a_child_that_dies_as_it_is_given_a_job_costs_no_attempt() -> None:
    pool = SandboxPool("q", 1, ProcessorOptions(), 1000, Middleware())
    pid = int(pool.run(source_of(handlers.pid), job("pid"), None))
    (sandbox,) = pool._idle
    sandbox.exited = lambda: False  # type: ignore[method-assign]  # as if it were still dying when the pool looks
    os.kill(pid, signal.SIGKILL)
    until(lambda: not lives(pid), WAIT_S)
    begin = sandbox.begin

    def begin_later(job_id: str) -> int:
        del sandbox.exited
        return begin(job_id)

    sandbox.begin = begin_later  # type: ignore[method-assign]
    assert int(pool.run(source_of(handlers.pid), job("pid"), None)) != pid
    pool.close()
    assert zombies() == []


def test_a_handler_that_closes_or_writes_to_what_is_not_its_own() -> None:
    pool = SandboxPool("q", 1, ProcessorOptions(), 1000, Middleware())
    pid = int(pool.run(source_of(handlers.pid), job("pid"), None))
    for handler in (handlers.close_everything, handlers.write_everywhere):
        with pytest.raises(SandboxFailure, match=r"the sandbox (was killed|sent|has closed)"):
            pool.run(source_of(handler), job("n"), None)
    assert not lives(pid)
    assert pool.run(source_of(handlers.fine), job("n", 1), None)
    pool.close()
    assert zombies() == []
