"""One child process, seen from the worker."""

from __future__ import annotations

import errno
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any

from stratix_kombu import forks
from stratix_kombu.worker.sandbox import family, memory
from stratix_kombu.worker.sandbox.output import Output
from stratix_kombu.worker.sandbox.protocol import (
    MAX_FRAME,
    NO_THREAD,
    Frames,
    Message,
    SandboxFailure,
    SandboxStarved,
    frame,
)

KILL = getattr(signal, "SIGKILL", 9)
"""Windows has no such signal; there this module is imported, and refuses every handler."""
EXIT_S = 2.0
"""How long an idle child may take to end."""
CHUNK = 65_536
POLL_S = 0.05
SHORTAGES = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""The system cannot start a child now: no process, memory or descriptor is left."""
BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from stratix_kombu.worker.sandbox.child import main; main(*map(int, sys.argv[2:]))"
)


class Sandbox:
    """A fresh interpreter that runs one job at a time, in a process group of its own.

    Used by one thread at a time; only ``strike`` may be called from another.
    """

    def __init__(self, queue: str, limit: int, memory_mb: int) -> None:
        self._frames = Frames(limit)
        self._unsent = bytearray()
        self._outputs = {name: Output(name, queue) for name in ("stdout", "stderr")}
        self.at_rest = 0
        """Bytes it used when it had imported its handlers."""
        self.runs = 0
        self.fit = True
        """Whether it can take another job."""
        self.silent_since = 0.0
        """When it has closed its end, although it may not have exited."""
        self._reaping = threading.Lock()
        self._left: dict[int, int] = {}
        """Processes that jobs had left running when the child was asked to end."""
        self._reaped = False
        """Its process id may belong to another process."""
        try:
            self._start()
        except (OSError, ValueError) as problem:
            said = f"the sandbox could not be started: {problem}"
            if isinstance(problem, OSError) and problem.errno in SHORTAGES:
                raise SandboxStarved(said) from problem
            raise SandboxFailure(said) from problem
        self._socket.setblocking(False)
        self._selector.register(self._socket, selectors.EVENT_READ)
        for name, pipe in (("stdout", self._process.stdout), ("stderr", self._process.stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, self._outputs[name])
        self.post({"kind": "hello", "limit": limit, "memory_mb": memory_mb, "argv": sys.argv})
        forks.register(self)

    def after_fork(self) -> None:
        """It is the parent's, and ends with the parent: so no other process may hold our ends of its connections."""
        self._reaping = threading.Lock()
        if self._reaped:  # they are closed, and their numbers may be another file's
            return
        self._reaped = True
        forks.keep(self._process)
        self._selector.close()
        self._socket.close()
        os.close(self._life)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _start(self) -> None:
        with ExitStack() as undo:
            self._selector = selectors.DefaultSelector()
            undo.callback(self._selector.close)
            self._socket, theirs = socket.socketpair()
            undo.callback(self._socket.close)
            with theirs:
                # When the last holder of the other end exits, the child is killed: see ``child.die_with_the_worker``.
                life, self._life = os.pipe()
                undo.callback(os.close, self._life)
                try:
                    self._process = subprocess.Popen(
                        [sys.executable, "-c", BOOT, json.dumps(sys.path), str(theirs.fileno()), str(life)],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        pass_fds=(theirs.fileno(), life),
                        start_new_session=True,
                    )
                finally:
                    os.close(life)
            undo.pop_all()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def printed(self) -> str:
        """The newest lines of the job on stderr."""
        return self._outputs["stderr"].last

    @property
    def used(self) -> int:
        """Bytes of memory it uses."""
        return memory.resident(self.pid)

    def exited(self) -> bool:
        """Whether the process has ended. It is not reaped yet, so that its process id is not reused."""
        if hasattr(os, "waitid"):
            with suppress(ChildProcessError):
                return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self._process.poll() is not None

    def pending(self) -> bool:
        """Whether it has sent something that was not read."""
        return any(key.fileobj is self._socket for key, _ in self._selector.select(0))

    def begin(self, job_id: str) -> int:
        """Another job: its number."""
        self._pump_output()
        for output in self._outputs.values():
            output.begin(job_id)
        self.runs += 1
        return self.runs

    # -- talking ----------------------------------------------------------------------------------

    def post(self, message: Message) -> None:
        """Send a message, now or while pumping."""
        self._unsent += frame(message, MAX_FRAME)
        self._send()

    def pump(self, timeout: float) -> list[Message]:
        """Send and receive what is possible, waiting at most ``timeout`` seconds; return the received messages.

        Raises BrokenProtocol.
        """
        messages: list[Message] = []
        for key, events in self._selector.select(timeout):
            if isinstance(key.data, Output):
                self._read_output(key.fileobj, key.data)
                continue
            if events & selectors.EVENT_WRITE:
                self._send()
            if events & selectors.EVENT_READ:
                messages += self._receive()
        if messages:
            self._pump_output()  # what was printed before a message is logged before it
        return messages

    def _send(self) -> None:
        with suppress(OSError):  # it accepts no more now; ``exited`` shows whether it has exited
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        key = self._selector.get_map().get(self._socket)
        if key is not None and key.events != wanted:
            self._selector.modify(self._socket, wanted)

    def _receive(self) -> list[Message]:
        try:
            received = self._socket.recv(CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            received = b""
        if not received:
            self._selector.unregister(self._socket)
            self.silent_since = time.monotonic()
            return []
        return self._frames.feed(received)

    def _pump_output(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Output):
                self._read_output(key.fileobj, key.data)

    def _read_output(self, pipe: Any, output: Output) -> None:
        try:
            received = os.read(pipe.fileno(), CHUNK)
        except BlockingIOError:
            return
        if received:
            output.feed(received)
        else:
            self._selector.unregister(pipe)

    # -- ending -----------------------------------------------------------------------------------

    def strike(self, number: int = KILL) -> None:
        """Signal the child and all it has started."""
        with self._reaping:
            if self._reaped:
                return
            if number == KILL:
                family.kill_below(self.pid)
                family.kill(self._left)
            else:
                family.strike(self.pid, number)
            with suppress(ProcessLookupError, PermissionError):  # it has exited; on macOS also if it was not reaped
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """End it, and forget it."""
        if not self._reaped:
            self.strike()
            self._forget()

    def hang_up(self) -> None:
        """Let one that is idle end by itself."""
        self._left.update(family.descendants(self.pid))  # they can no longer be found below it once it has ended
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def dismiss(self) -> None:
        """End one that is idle: it is asked to, and killed if it does not."""
        self.hang_up()
        deadline = time.monotonic() + EXIT_S
        while not self.exited() and time.monotonic() < deadline:
            for key, _ in self._selector.select(POLL_S):  # a child that cannot print cannot end
                if isinstance(key.data, Output):
                    self._read_output(key.fileobj, key.data)
                else:
                    self._selector.unregister(key.fileobj)
        self.kill()

    def end_of(self) -> str:
        """How an exited child ended. It is forgotten. Raises SandboxStarved if it could not start."""
        self.kill()
        code = self._process.returncode
        if code == NO_THREAD and not self.at_rest and self.runs == 1:
            raise SandboxStarved("the sandbox could not be started: can't start new thread")
        if code >= 0:
            return f"the sandbox exited with code {code} in the middle of the job"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        if name == "SIGKILL":
            return "the sandbox was killed (SIGKILL): by the system because memory ran out, or by hand"
        return f"the sandbox was ended by {name}" if name == "SIGTERM" else f"the sandbox crashed ({name})"

    def _forget(self) -> None:
        with self._reaping:
            self._process.wait()
            self._reaped = True
        self._pump_output()
        for output in self._outputs.values():
            output.flush()
        self._selector.close()
        self._socket.close()
        os.close(self._life)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
