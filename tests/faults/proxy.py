"""A TCP proxy before a server: it can freeze, refuse, cut all connections, and cut one in the middle of a reply. It can
also swallow what open connections carry, or lead new ones to another server."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

CHUNK = 65_536


@dataclass
class _Cut:
    """Cut the connection that asks for ``pattern`` after ``keep`` bytes of the answer, or say ``last`` in it then."""

    pattern: bytes
    keep: int
    left: int
    last: bytes


class Proxy:
    """``url`` is the server's with the proxy's port. Closed, it cuts everything."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (str(parts.hostname), int(parts.port or 0))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        port = self._listener.getsockname()[1]
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        self.url = urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{port}"))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._swallowed: set[socket.socket] = set()
        self._refuses = False
        self._closed = False
        self._cut: _Cut | None = None
        self.cuts = 0
        """Connections that were cut in the middle of a reply."""
        self.name = ""
        """For tests that have several."""
        self.accepted = 0
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def freeze(self) -> None:
        """Carry nothing in either direction; connections stay open and new ones are taken, as by a frozen server."""
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def swallow(self) -> None:
        """Lose silently whatever the connections carry that are open now, as a router does that has forgotten them."""
        with self._lock:
            self._swallowed |= self._open

    def lead_to(self, url: str) -> None:
        """New connections go to another server; open ones stay where they are."""
        parts = urlsplit(url)
        self._server = (str(parts.hostname), int(parts.port or 0))

    def refuse(self) -> None:
        """As a server that is down: cut all connections, take no new one."""
        self._refuses = True
        self.cut_all()

    def accept(self) -> None:
        self._refuses = False

    def cut_all(self) -> None:
        with self._lock:
            gone, self._open = self._open, set()
        for one in gone:
            _end(one)

    def cut_replies_to(self, pattern: bytes, keep: int, times: int = 1, last: bytes = b"") -> None:
        """Cut the next connections that send ``pattern``: the server gets it, of its answer ``keep`` bytes come (all
        but some where it is negative). With ``last`` they stay open, and that is what the server says last in them."""
        self._cut = _Cut(pattern, keep, times, last)

    def close(self) -> None:
        self._closed = True
        self.thaw()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                if self._refuses:
                    raise ConnectionRefusedError
                server = socket.create_connection(self._server)
            except OSError:
                _end(client)
                continue
            with self._lock:
                self._open |= {client, server}
            _Carried(self, client, server).start()

    def drop(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._open -= set(sockets)
            self._swallowed -= set(sockets)
        for one in sockets:
            _end(one)

    def mute(self, client: socket.socket) -> None:
        """Lose silently whatever this connection carries."""
        with self._lock:
            self._swallowed.add(client)

    def carries(self, client: socket.socket) -> bool:
        """Whether what came is to be passed on, once anything is."""
        self._flows.wait()
        return client not in self._swallowed

    def asks_for_cut(self, request: bytes) -> _Cut | None:
        """What is to be done with the answer to a request, or None where all of it may come."""
        with self._lock:
            cut = self._cut
            if cut is None or cut.pattern not in request:
                return None
            cut.left -= 1
            if cut.left == 0:
                self._cut = None
            return cut


class _Carried:
    """One connection: two threads, one a direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._cut: _Cut | None = None

    def start(self) -> None:
        for work in (self._requests, self._replies):
            threading.Thread(target=self._until_closed, args=(work,), name="proxy", daemon=True).start()

    def _until_closed(self, work: object) -> None:
        try:
            with suppress(OSError):
                work()  # type: ignore[operator]
        finally:
            self._proxy.drop(self._client, self._server)

    def _requests(self) -> None:
        while data := self._client.recv(CHUNK):
            if not self._proxy.carries(self._client):
                continue
            self._cut = self._cut or self._proxy.asks_for_cut(data)
            self._server.sendall(data)

    def _replies(self) -> None:
        while data := self._server.recv(CHUNK):
            if not self._proxy.carries(self._client):
                continue
            if self._cut is not None:
                self._proxy.cuts += 1
                self._client.sendall(data[: self._cut.keep] + self._cut.last)
                if not self._cut.last:
                    return
                self._proxy.mute(self._client)
                continue
            self._client.sendall(data)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
