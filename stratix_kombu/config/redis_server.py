"""What the Redis store and the Redis driver share: which server is the master, and what its refusals mean."""

from __future__ import annotations

import re
import threading
import time
import weakref
from typing import Any, NamedTuple

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError as RedisConnectionError,
    DataError,
    InvalidResponse,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
    TryAgainError,
)
from redis.retry import Retry

from stratix_kombu import forks
from stratix_kombu.config.redis_options import Node, RedisOptions
from stratix_kombu.model.text import host_and_port, printable

ASK_S = 0.5
"""How often the sentinels are asked."""
FAILOVER_ASK_S = 0.05
"""How often, while one of them says that a failover is under way."""
REST_S = 5.0
"""For how long one is not asked that has not answered."""
MAX_SAID = 100
"""Characters of what one answers that an error shows."""
RESENDS = 1
"""A command whose connection was lost is sent once more, where that is safe."""
REFUSED_PAUSE_S = 0.25
"""The longest pause between two questions to a server that can do nothing just now, such as one that was demoted."""
_CONNECTING = re.compile(r"^Error -?\d+ connecting to \S+ (.*)$", re.DOTALL)
"""How redis-py begins what the system says of a connection."""
_FINAL = (ResponseError, DataError)
"""Errors that another try would only bring again."""
_NOT_NOW = (ReadOnlyError, BusyLoadingError, ClusterDownError, TryAgainError)
_NOT_NOW_WORDS = re.compile(r"\A(NOREPLICAS|UNBLOCKED) |-(READONLY|NOREPLICAS) ")
"""Those that redis-py has no class for, and what servers before Redis 7 say of a write within a script."""


def is_refusal(problem: BaseException) -> bool:
    """Whether the server says that it did nothing, and that it, or its successor, may do it soon."""
    if isinstance(problem, _NOT_NOW):
        return True
    return isinstance(problem, ResponseError) and _NOT_NOW_WORDS.search(str(problem)) is not None


def never() -> Any:
    """For clients that must not resend by themselves: a caller must not wait twice."""
    return Retry(NoBackoff(), 0)


class Tries:
    """Whether, when, and for how long one command is tried again."""

    def __init__(self, options: RedisOptions, again: bool = True, wait_s: float = 0.0) -> None:
        self.executed = False
        """The server may have executed the command the last time it was sent."""
        self._options = options
        self._again = again
        self._wait_s = wait_s
        """How long the server may wait before it answers."""
        self._timeout_s = options.command_timeout / 1000
        self._deadline = time.monotonic() + wait_s + self._timeout_s
        self._lost = 0
        self._refused = 0

    def left_s(self) -> float:
        return self._deadline - time.monotonic()

    def answer_by(self) -> float:
        """When to give up waiting for the answer. While there is another try, half of the remaining time is kept for
        it. A little early, because the waiting code checks the time only now and then."""
        last = not self._again or self._lost >= self._options.resends(RESENDS)
        patience_s = (self.left_s() - self._wait_s) / (1 if last else 2)
        return time.monotonic() + self._wait_s + patience_s - self._timeout_s / 8

    def pause_s(self, problem: BaseException) -> float | None:
        """Seconds to wait before the next try; None = no more."""
        if is_refusal(problem):
            self._refused += 1
            pause_s = self._options.pause_s(1, 1)
            if pause_s is None or self.left_s() <= 0:
                return None
            return min(max(pause_s, 0.05) * self._refused, REFUSED_PAUSE_S, max(self.left_s(), 0))
        if isinstance(problem, _FINAL) or (self.executed and not self._again):
            return None
        self._lost += 1
        pause_s = self._options.pause_s(self._lost, RESENDS)
        if pause_s is None:
            return None
        self._deadline += pause_s
        return pause_s if self.left_s() > pause_s else None


class Sentinels:
    """The master's address, according to the sentinels. After a planned failover the old master accepts writes for
    about ten more seconds, and loses them. So a thread asks all sentinels twice a second as long as this object is in
    use; the newest of their answers counts."""

    def __init__(self, options: RedisOptions) -> None:
        self.known: Node | None = None
        """The master; None if there is none now."""
        self._name = options.name
        self._options = options
        self._clients = self._connect()
        self._rest_until = dict.fromkeys(options.sentinels, 0.0)
        self._problem = ""
        self._asking = threading.Lock()
        self._asked = 0.0
        self._thread: threading.Thread | None = None
        self.ask_in_s = ASK_S
        """How long the thread is to wait."""
        forks.register(self)

    def after_fork(self) -> None:
        global _lock
        _lock, self._asking = threading.Lock(), threading.Lock()
        self.known, self._thread = None, None
        self._asked = 0.0
        for client in self._clients.values():
            forks.abandon_pool(client.connection_pool)
        self._clients = self._connect()

    def _connect(self) -> dict[Node, Any]:
        arguments = {**self._options.sentinel_arguments(), "retry": never()}
        return {node: Redis(host=node[0], port=node[1], **arguments) for node in self._options.sentinels}

    @classmethod
    def of(cls, options: RedisOptions) -> Sentinels:
        """One for all in this process who name the same sentinels."""
        key = (options.sentinels, options.name, options.sentinel_password)
        with _lock:
            known = _all.get(key)
            if known is None:
                known = _all[key] = cls(options)
            return known

    def master(self) -> Node:
        """The master's address. Raises redis's ConnectionError if no sentinel knows of one."""
        if self.known is None:
            with self._asking:
                if time.monotonic() - self._asked > ASK_S:
                    self._ask()
            self.begin()
        known = self.known
        if known is None:
            raise RedisConnectionError(f"No master found for {self._name!r}: {self._problem}")
        return known

    def begin(self) -> None:
        """Follow the master from now on."""
        with self._asking:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_follow, args=(weakref.ref(self),), name="stratix-sentinels", daemon=True
                )
                self._thread.start()

    def follow(self) -> None:
        """Ask once more, for the thread."""
        with self._asking:
            self._ask()

    def _ask(self) -> None:
        """A sentinel may have heard of a failover two seconds later than others, which shows in its epoch."""
        answers: list[MasterState] = []
        problems: dict[str, list[str]] = {}
        """What is wrong, and with which of them."""
        for node, client in self._clients.items():
            if time.monotonic() < self._rest_until[node] and self.known is not None:
                continue
            try:
                answers.append(self._answer(client))
            except Exception as problem:  # the server may not be a sentinel, and may answer anything
                self._rest_until[node] = time.monotonic() + REST_S
                problems.setdefault(_said(problem), []).append(host_and_port(*node))
        self._asked = time.monotonic()
        self.ask_in_s = FAILOVER_ASK_S if any(answer.failing_over for answer in answers) else ASK_S
        said = [f"{', '.join(nodes)}: {what}" for what, nodes in problems.items()]
        if not answers:
            self._problem = "; ".join(said)  # a master that was known may still be there
            return
        newest = max(answer.epoch for answer in answers)
        there = [answer for answer in answers if answer.epoch == newest and answer.is_up]
        self.known = there[0].node if there else None
        self._problem = "; ".join(["the sentinels take it to be down", *said])

    def _answer(self, client: Any) -> MasterState:
        """What a sentinel says. The one that leads a failover speaks of the old master until all other replicas follow
        the new one, which may take long; asked for the address alone, it returns the new one's."""
        state: dict[str, Any] = client.sentinel_master(self._name)
        node, epoch = (str(state["ip"]), int(state["port"])), int(state["config-epoch"])
        is_up = bool(state["is_master"] and not state["is_sdown"] and not state["is_odown"])
        failing_over = "failover_in_progress" in state["flags"]
        if failing_over:
            host, port = client.sentinel_get_master_addr_by_name(self._name)
            now = host.decode() if isinstance(host, bytes) else str(host), int(port)
            node, is_up = now, is_up or now != node
        return MasterState(node, epoch, is_up, failing_over)


class MasterState(NamedTuple):
    """What one sentinel says of the master."""

    node: Node
    epoch: int
    is_up: bool
    failing_over: bool


def _said(problem: Exception) -> str:
    """In a few words, why a sentinel is of no use."""
    text = printable(" ".join(_CONNECTING.sub(r"\1", str(problem)).split())).rstrip(".")[:MAX_SAID]
    if isinstance(problem, AuthenticationError):
        asks = "HELLO must be called" in text or "Authentication required" in text
        return "requires a 'sentinel_password'" if asks else f"refuses the 'sentinel_password': {text}"
    if isinstance(problem, RedisTimeoutError):
        return "does not answer in time"
    if isinstance(problem, InvalidResponse):
        return f"is not a sentinel ({text})"
    if not isinstance(problem, (RedisError, OSError)):
        return "does not answer as a sentinel does"
    return text or type(problem).__name__


def _follow(sentinels: weakref.ref[Sentinels]) -> None:
    wait_s = ASK_S
    while True:
        time.sleep(wait_s)
        one = sentinels()
        if one is None:
            return
        one.follow()
        wait_s = one.ask_in_s
        del one


_all: weakref.WeakValueDictionary[tuple[Any, ...], Sentinels] = weakref.WeakValueDictionary()
_lock = threading.Lock()
