"""Sentinels that are of no use: what is said of them, and that the others are asked."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from stratix_kombu.config.redis_options import RedisOptions
from stratix_kombu.config.redis_server import Sentinels
from tests.services import free_port

FIELDS = {
    "name": "main",
    "ip": "10.0.0.7",
    "port": "6380",
    "flags": "master",
    "config-epoch": "3",
    "num-slaves": "1",
    "quorum": "2",
}


def state(**changed: str) -> bytes:
    pairs = {**FIELDS, **{key.replace("_", "-"): value for key, value in changed.items()}}
    said = [f"${len(part)}\r\n{part}\r\n" for pair in pairs.items() for part in pair]
    return f"%{len(pairs)}\r\n{''.join(said)}".encode()


GARBAGE = {
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "bytes": b"$3\r\n\xff\xfe\xfd\r\n",
    "a list": b"*2\r\n+a\r\n+b\r\n",
    "nothing": b"*-1\r\n",
    "a number": b":1\r\n",
    "an empty list": b"*0\r\n",
    "an error": b"-\x1b[2J what?\r\n",
    "a port that is none": state(port="x"),
    "an epoch that is none": state(config_epoch="x"),
    "half": b"%7\r\n$4\r\nname",
}


class Answering(socketserver.BaseRequestHandler):
    """Begins a connection as Redis does, and answers what is asked of a sentinel with the same bytes each time."""

    answer = b""

    def handle(self) -> None:
        while asked := self.request.recv(4096):
            if b"SENTINEL" in asked:
                self.request.sendall(self.answer)
            else:
                begins = b"%1\r\n$5\r\nproto\r\n:3\r\n" if b"HELLO" in asked else b""
                commands = (b"\r\n" + asked).count(b"\r\n*") - (b"HELLO" in asked)
                self.request.sendall(begins + b"+OK\r\n" * commands)


class Fakes:
    """Servers that are none, or one, of a sentinel."""

    def __init__(self) -> None:
        self._servers: list[socketserver.ThreadingTCPServer] = []

    def __call__(self, answer: bytes) -> int:
        handler = type("Handler", (Answering,), {"answer": answer})
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return int(server.server_address[1])

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def fake() -> Iterator[Callable[[bytes], int]]:
    fakes = Fakes()
    yield fakes
    fakes.close()


Fake = Callable[[bytes], int]


def sentinels(*ports: int, patience_ms: int = 5_000, **more: Any) -> Sentinels:
    nodes = [{"host": "127.0.0.1", "port": port} for port in ports]
    patience = {"command_timeout": patience_ms, "connect_timeout": patience_ms}
    return Sentinels(RedisOptions.parse({"sentinels": nodes, "name": "main", **patience, **more}))


def said(asked: Sentinels) -> str:
    with pytest.raises(RedisConnectionError) as refused:
        asked.master()
    text = str(refused.value)
    assert len(text) < 500
    assert text.isprintable(), "it is one line"
    return text


@pytest.mark.parametrize("what", GARBAGE)
def test_one_that_answers_garbage_is_passed_over(fake: Fake, what: str) -> None:
    garbage, good = fake(GARBAGE[what]), fake(state())
    patience_ms = 200 if what == "half" else 5_000
    assert sentinels(garbage, free_port(), good, patience_ms=patience_ms).master() == ("10.0.0.7", 6380)
    assert f"127.0.0.1:{garbage}: " in said(sentinels(garbage, patience_ms=patience_ms))


def test_an_error_says_what_each_one_answered(fake: Fake) -> None:
    wrong = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    first, second, other = fake(wrong), fake(wrong), fake(b"-ERR No such master with that name\r\n")
    gone, asking, web = free_port(), fake(b"-NOAUTH Authentication required.\r\n"), fake(GARBAGE["http"])
    text = said(sentinels(first, second, other, gone, asking, web))
    for words in (
        "No master found for 'main': ",
        f"127.0.0.1:{gone}: Connection refused",
        f"127.0.0.1:{asking}: requires a",
        f"127.0.0.1:{other}: No such master with that name",
        f"127.0.0.1:{web}: is not a sentinel (Protocol error",
    ):
        assert words in text
    assert text.count("refuses the 'sentinel_password': invalid username-password pair") == 1, "once for both"
    assert text.count(f"127.0.0.1:{first}") == text.count(f"127.0.0.1:{second}") == 1


def test_a_master_that_is_down_and_who_could_not_be_asked(fake: Fake) -> None:
    down, gone = fake(state(flags="master,s_down,o_down")), free_port()
    text = said(sentinels(down, gone))
    assert text == (
        f"No master found for 'main': the sentinels take it to be down; 127.0.0.1:{gone}: Connection refused"
    )
