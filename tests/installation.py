"""Programs that the tests need besides Python: installed once a run, by one process, where that can be done.

That is as root on Debian and its like. The test processes of one run share a file, which is the lock and remembers what
could not be installed, so that it is tried once and said with the same words to every test that needs it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"
POSTGRES = "pg_createcluster"
"""It comes with the server, whose own programs are not on the PATH."""
PACKAGES = {
    "redis-server": "redis-server",
    "redis-cli": "redis-tools",
    RABBITMQ: "rabbitmq-server",
    POSTGRES: "postgresql",
    "pgbouncer": "pgbouncer",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "tmux": "tmux",
    "git": "git",
}
"""By program, the Debian package that brings it."""
RUN = "STRATIX_TEST_INSTALLATION"
"""The variable with the path of the file that a run's processes share."""
LOCK_S = 600
"""How long the package manager waits for another one that is at work."""
INSTALL_S = 1800.0
POLICY = Path("/usr/sbin/policy-rc.d")
"""What Debian asks whether a package may start its service: the tests start servers of their own."""


def begin_run() -> None:
    """Called by the first process of a run, before it starts others."""
    handle, path = tempfile.mkstemp(prefix="stratix-tests-")
    os.close(handle)
    os.environ[RUN] = path


def end_run() -> None:
    """Forget what could not be installed."""
    Path(os.environ.pop(RUN)).unlink(missing_ok=True)


def install(programs: Collection[str]) -> str:
    """See that these programs are there; '' if they are, otherwise why not, in one line."""
    if all(map(shutil.which, programs)):
        return ""
    if RUN not in os.environ:
        begin_run()
    with open(os.environ[RUN], "r+", encoding="utf-8") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        missing = [one for one in programs if not shutil.which(one)]
        if not missing:  # another process has been here
            return ""
        problem = shared.read()
        if not problem:
            problem = _install([PACKAGES[one] for one in missing])
            if all(map(shutil.which, missing)):  # a service that cannot be started, say, is not needed
                return ""
            shared.seek(0)
            shared.write(problem)
        return problem


def _install(packages: list[str]) -> str:
    """Have the package manager do it; what went wrong."""
    by_hand = f"apt-get install {' '.join(packages)}"
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        why = "there is no apt-get" if apt is None else "the tests do not run as root"
        return f"not installed, and {why}: {' '.join(packages)} (on Debian: {by_hand})"
    said = ""
    with _no_services():
        update = _run([apt, "update", "-qq"])
        install = [apt, "install", "-y", "-qq"]
        said = _run([*install, *packages])
        if said and len(packages) > 1:  # one that cannot be had does not keep the others away
            said = next(filter(None, [_run([*install, one]) for one in packages]), "")
    problem = said or update or "its programs are not on the PATH"
    return f"{by_hand} failed: {problem}"


def _run(command: list[str]) -> str:
    """Run the package manager, again while another one holds a lock that it does not wait for; what went wrong."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = [command[0], "-o", f"DPkg::Lock::Timeout={LOCK_S}", *command[1:]]
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=INSTALL_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"not done in {INSTALL_S:.0f} s"
        if not done.returncode:
            return ""
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        if not any("/lock" in line for line in lines) or time.monotonic() > deadline:
            return f"exit code {done.returncode}: {lines[-1] if lines else 'nothing was said'}"
        time.sleep(1)


@contextmanager
def _no_services() -> Iterator[None]:
    """Have packages start nothing, unless the machine has a rule of its own."""
    if POLICY.exists() or not POLICY.parent.is_dir():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
