"""Servers that a test may kill, freeze and start again with their data, on the same port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.installation import RABBITMQ
from tests.services import free_port, rabbitmq_environment, require, wait_for_port
from tests.waiting import until


class OwnServer:
    """A process group with a folder of its own."""

    url: str

    def __init__(self, name: str) -> None:
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix=f"stratix-{name}-")
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        """Returns when it answers."""
        self._process = subprocess.Popen(
            self.command(),
            env=self.environment(),
            cwd=self.folder,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port, self._process)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)


class OwnRedis(OwnServer):
    """With ``keeps`` it has its data again after a restart."""

    def __init__(self, keeps: bool) -> None:
        super().__init__("redis")
        self._keeps = keeps
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        binary = require("redis-server")
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", ""]
        return [binary, *where, "--appendonly", "yes" if self._keeps else "no"]

    def start(self) -> None:
        super().start()
        until(self._answers, 30)

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url) as client:
                return bool(client.ping())
        except RedisError:
            return False


class OwnRabbitMQ(OwnServer):
    """A node with its data on disk, and an epmd of its own."""

    def __init__(self) -> None:
        super().__init__("rabbitmq")
        self._epmd = free_port()
        self._environment = rabbitmq_environment(self.folder, self.port, self._epmd)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def command(self) -> list[str]:
        return [require(RABBITMQ)]

    def environment(self) -> dict[str, str]:
        return self._environment

    def close(self) -> None:
        super().close()
        command = [str(Path("epmd")), "-port", str(self._epmd), "-kill"]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
