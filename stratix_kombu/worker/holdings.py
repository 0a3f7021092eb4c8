"""The claims that one worker holds, from the answer that contained them until their outcome is stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from stratix_kombu.model.cancellation import Cancellations
from stratix_kombu.model.record import Claim, Held
from stratix_kombu.worker.attempt_log import Running


class Holdings:
    """All by token, which names one attempt; used by the threads of a worker."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        """The claims whose outcome is not stored yet."""
        self._unleased: set[str] = set()
        """Of those, what is no claim on a job of the store."""
        self._running: dict[str, Running] = {}
        """The jobs whose handler is running."""
        self._given_up: set[str] = set()
        """Attempts that have failed, were handed back or were lost while their handler is still running."""
        self._lost: set[str] = set()
        """Of those, the lost ones."""
        self._changed = threading.Condition()
        self.hurried = False
        """Whether nobody waits for what runs."""
        self.stored = 0
        """How many claims are held no longer."""
        self._awaited: int | None = None
        """More of these are waited for; None: nothing waits."""

    def __len__(self) -> int:
        return len(self._held)

    def add(self, claim: Claim, leased: bool = True) -> None:
        """Its handler is about to start."""
        if not leased:
            self._unleased.add(claim.token)
        self._held[claim.token] = Held(claim.record.id, claim.token)
        record = claim.record
        self._running[claim.token] = Running(record.id, record.name, record.queue, time.monotonic())

    def not_begun(self, token: str) -> None:
        """Its handler will not start."""
        self._running.pop(token, None)

    def ended(self, token: str) -> tuple[bool, bool]:
        """The handler has returned; returns whether its attempt was given up before that, and whether it was lost."""
        with self._changed:
            self._running.pop(token, None)
            late, lost = token in self._given_up, token in self._lost
            self._given_up.discard(token)
            self._lost.discard(token)
        return late, lost

    def note_stored(self, *tokens: str) -> None:
        """The outcomes are stored, or no longer needed. What waits for that is woken once, and not for the first one
        alone."""
        for token in tokens:
            self._held.pop(token, None)
            self._unleased.discard(token)
        self.stored += len(tokens)
        awaited = self._awaited
        if (awaited is not None and self.stored > awaited) or not self._held:
            with self._changed:
                self._changed.notify_all()

    def give_up(self, token: str) -> bool:
        """The attempt is over while its handler is still running. False if the handler has returned, or the attempt is
        lost."""
        with self._changed:
            if token not in self._running or token in self._lost:
                return False
            self._given_up.add(token)
        return True

    def give_up_all(self) -> dict[str, Running]:
        """Nothing that still runs counts any more; by token, the attempts whose outcome is open."""
        with self._changed:
            running = self._running.items()
            found = {one: job for one, job in running if one in self._held and one not in self._given_up}
            self._given_up.update(self._running)
        return found

    def lose(self, token: str) -> Running | None:
        """The lease has run out: the job, if its handler runs and its outcome is open."""
        with self._changed:
            running = self._running.get(token)
            if running is None or token not in self._held or token in self._given_up:
                return None
            self._given_up.add(token)
            self._lost.add(token)
        return running

    def release(self, tokens: Iterable[str]) -> list[Held]:
        """These claims are handed back."""
        found = [self._held.pop(token, None) for token in tokens]
        return [one for one in found if one is not None and one.token not in self._unleased]

    def running(self, token: str) -> Running | None:
        """The job, if its handler is running."""
        return self._running.get(token)

    def all_running(self) -> list[Running]:
        """The jobs whose handler is running and whose attempt is not over."""
        return [one for token, one in list(self._running.items()) if token not in self._given_up]

    def to_renew(self) -> list[Held]:
        return [claim for claim in list(self._held.values()) if claim.token not in self._lost | self._unleased]

    def stuck(self, to_end: Cancellations, waiting: set[str]) -> int:
        """Handlers that are still running although their attempt is over, or should be."""
        over = {token for token in list(self._running) if token in self._given_up or to_end.is_asked(token)}
        return len(over - waiting)

    def wait_until_empty(self, timeout: float | None) -> bool:
        """Whether no claim is held any more, after at most ``timeout`` seconds, and none if it is ``hurried``."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self.hurried, timeout)
            return not self._held

    def wait_for_more_stored(self, stored: int, timeout: float) -> None:
        """Return when more claims than ``stored`` are held no longer, or after ``timeout`` seconds, or at ``wake``."""
        with self._changed:
            self._awaited = stored
            if self.stored <= stored:
                self._changed.wait(timeout)
            self._awaited = None

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
