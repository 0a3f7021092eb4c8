"""Handlers for the tests of sandboxes: a child imports them by module and name."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from stratix_kombu import Closed, InvalidJobState, JobNotFound, PayloadNotSerializable, RateLimited, UnrecoverableError

kept: list[threading.Thread] = []


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("cannot be pickled")
        self.lock = threading.Lock()


def pid(job: Any) -> int:
    return os.getpid()


def write_log(job: Any) -> None:
    logger = logging.getLogger("shop.images")
    logger.debug("not let through")
    logger.info("resizing %s", job.data)
    try:
        raise ValueError("too small")
    except ValueError:
        logger.exception("cannot")


def fine(job: Any) -> dict[str, Any]:
    return {"pid": os.getpid(), "data": job.data}


def fork(job: Any) -> Any:
    """The child returns too."""
    answer, heard = os.pipe()
    pid = os.fork()
    if pid == 0:
        logging.getLogger().warning("in the child")
        try:
            job.update_progress(50)
        except Closed as refused:
            os.write(heard, str(refused).encode())
        return "the child"
    os.close(heard)
    with os.fdopen(answer) as said:
        return [said.read(), os.waitpid(pid, 0)[1]]


async def fine_async(job: Any) -> dict[str, Any]:
    await job.aio.update_progress(50)
    await asyncio.sleep(0)
    return {"pid": os.getpid(), "data": job.data}


def leave(job: Any) -> None:
    os._exit(3)


def leave_politely(job: Any) -> None:
    sys.exit("leaving")


def kill_itself(job: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def segfault(job: Any) -> None:
    ctypes.string_at(0)


def loop(job: Any) -> None:
    while True:
        pass


def hold_the_interpreter(job: Any) -> None:
    note(job.data, os.getpid())
    re_match_for_ages()


def hold_the_interpreter_for(job: Any) -> str:
    """For so many microseconds: what is called by way of ``PyDLL`` keeps the interpreter lock."""
    ctypes.PyDLL(None).usleep(job.data)
    return "done"


def re_match_for_ages() -> None:
    """One call into C that does not give up the interpreter."""
    import re

    re.match(r"(a+)+$", "a" * 200 + "b")


def hoard(job: Any) -> None:
    hoarded = []
    while True:
        hoarded.append("x" * 2**20)


def hoard_elsewhere(job: Any) -> None:
    subprocess.run([sys.executable, "-c", "x = 'x' * 2**28; import time; time.sleep(60)"], check=False)


DAEMON = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
hoarded = "x" * int(sys.argv[2])
with open(sys.argv[1], "a") as notes:
    notes.write(f"{os.getpid()}\\n")
time.sleep(600 if sys.argv[3:] else 0)
"""


def daemonize(path: str, size: int = 0, lasting: bool = True) -> None:
    """Start a process of a session of its own whose parent ends at once."""
    more = ["lasting"] if lasting else []
    subprocess.run([sys.executable, "-I", "-S", "-c", DAEMON, path, str(size), *more], check=True)


def hoard_apart(job: Any) -> None:
    daemonize(job.data, 2 * 150 * 2**20)
    time.sleep(60)


def leave_daemon(job: Any) -> int:
    daemonize(job.data)
    return os.getpid()


def leave_litter(job: Any) -> int:
    daemonize(job.data, lasting=False)
    return os.getpid()


def wait_with_daemon(job: Any) -> None:
    daemonize(job.data)
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    while True:
        time.sleep(60)


def end_a_child_of_its_own(job: Any) -> int | None:
    context = multiprocessing.get_context("fork")
    runs, never = context.Event(), context.Event()
    child = context.Process(target=lambda: (runs.set(), never.wait(60)))
    child.start()
    assert runs.wait(60)
    child.terminate()
    child.join(60)
    return child.exitcode


def hoard_at_once(job: Any) -> int:
    return len("x" * 2**34)


def keep_memory(job: Any) -> int:
    kept.append("x" * 100 * 2**20)  # type: ignore[arg-type]
    return os.getpid()


def return_much(job: Any) -> str:
    return "x" * 2_000_000


def return_object(job: Any) -> object:
    return object()


def raise_unpicklable(job: Any) -> None:
    raise Unpicklable


async def raise_on_the_loop(job: Any) -> None:
    raise ValueError("on the loop")


def give_up(job: Any) -> None:
    raise UnrecoverableError("card was stolen")


def hold_the_queue(job: Any) -> int:
    if not Path(job.data).exists():
        note(job.data, "held")
        raise RateLimited(timedelta(milliseconds=20))
    return int(job.attempts_made)


def print_lines(job: Any) -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.write(1, b"raw \xff" + b"x" * 20_000 + b"\nno newline")


def use_the_job(job: Any) -> dict[str, Any]:
    job.update_progress({"step": 1})
    at_once = job.progress
    assert job.log("one") == 1
    job.log("two")
    job.update_data({"new": True})
    seen = {
        "name": job.name,
        "id": job.id,
        "attempts": job.opts["attempts"],
        "made": job.attempts_made,
        "queue": job.queue_name,
        "logs": job.get_logs(),
        "state": job.get_state(),
        "data": job.refresh().data,
        "progress": job.progress,
        "results": job.get_dependency_results(),
        "cancelled": job.cancelled,
        "at once": at_once,
        "dependencies": [(one.id, one.state, one.return_value) for one in job.get_dependencies()],
        "states": job.get_dependency_states(),
        "dependents": job.get_dependents(),
        "tries": [(one.number, one.outcome, one.finished_on) for one in job.get_attempts()],
    }
    job.check_cancelled()
    errors = []
    for use in (job.retry, lambda: job.update_progress(object()), lambda: job.add_dependency("nobody")):
        try:
            use()
        except (InvalidJobState, PayloadNotSerializable, JobNotFound) as error:
            errors.append(f"{type(error).__name__} {getattr(error, 'operation', '')}")
        except Exception as error:
            errors.append(type(error).__name__)
    return {**seen, "errors": errors}


def until_cancelled(job: Any) -> None:
    note(job.data, os.getpid())
    while True:
        job.check_cancelled()
        time.sleep(0.01)


async def until_cancelled_async(job: Any) -> None:
    note(job.data, os.getpid())
    try:
        await asyncio.sleep(60)
    finally:
        note(job.data, "cancelled")


def deaf(job: Any) -> None:
    """Notes its process and that of a child of its own, and hears nothing."""
    sleeper = subprocess.Popen(["sleep", "600"])
    note(job.data, f"{os.getpid()} {sleeper.pid}")
    while True:
        time.sleep(60)


def tidy(job: Any) -> None:
    note(job.data, "began")
    try:
        time.sleep(60)
    finally:
        job.log("tidied")


def wait_for_file(job: Any) -> int:
    note(f"{job.data}.began", os.getpid())
    while not Path(job.data).exists():
        time.sleep(0.01)
    return os.getpid()


def note(path: str, line: Any) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


def close_everything(job: Any) -> None:
    os.closerange(3, 4096)  # descriptors have the numbers they have in the worker
    time.sleep(60)


def write_everywhere(job: Any) -> None:
    """As a handler would that writes to a descriptor that is not its own."""
    for number in range(3, 4096):
        with suppress(OSError):
            os.write(number, b"\xff" * 100)
    time.sleep(60)


def asks_for_a_name_of_bullmq(job: Any) -> Any:
    return job.processedOn
