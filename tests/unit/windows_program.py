"""What a program finds on Windows: neither signals of POSIX, nor forks, nor modules of Unix. Producers and workers of
plain handlers run there. The standard library and Kombu are imported before, since this is no Windows."""

from __future__ import annotations

import asyncio  # noqa: F401
import os
import random  # noqa: F401
import signal
import subprocess  # noqa: F401
import sys
from typing import Any

import kombu.transport.memory
import kombu.utils.eventio  # noqa: F401

SIGNALS = ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGALRM", "SIGCHLD", "SIGPIPE", "pthread_kill")
FUNCTIONS = ("register_at_fork", "fork", "killpg", "getpgrp", "set_blocking", "waitid", "setsid", "getuid", "WNOHANG")
MODULES = ("fcntl", "resource", "pwd", "grp", "termios")


class Missing:
    """Finds none of the modules of Unix."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}")


def main() -> None:
    for module, names in ((signal, SIGNALS), (os, FUNCTIONS)):
        for name in names:
            delattr(module, name)
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Missing())  # type: ignore[arg-type]
    from stratix_kombu import ConfigurationError, create_app

    with create_app({"driver": "memory"}) as app:
        queue = app.queue.create_queue("q")
        queue.process(lambda job: job.data + 1)
        app.start()
        print(queue.add("n", 1).wait_until_finished(10))
        boxed = app.queue.create_queue("boxed", processor={"sandboxed": True})
        # The path classes of Windows cannot be made here, so only now does the program say where it is.
        os.name = "nt"
        try:
            boxed.process(print)
        except ConfigurationError as problem:
            print(problem)
        finally:
            os.name = "posix"


if __name__ == "__main__":
    main()
