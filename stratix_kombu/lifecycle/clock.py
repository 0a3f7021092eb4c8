"""The clock: promotes delayed jobs, adds runs of repeatable jobs, recovers lost jobs. Any number may run at once: one
of them leads, and the others make one request per second until it stops."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from stratix_kombu.config.options import WorkerOptions
from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.causes import Causes
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.promote import promote
from stratix_kombu.lifecycle.recover import Redelivery, recover
from stratix_kombu.lifecycle.repeat import repeat
from stratix_kombu.model.pauses import pause_s
from stratix_kombu.stores.contract import Lead

logger = logging.getLogger("stratix_kombu")
Result = TypeVar("Result")

REST_MS = 2_400
"""The longest rest of the clock that leads. What becomes due sooner wakes it; with ``MARGIN_MS`` it is how long nobody
leads after it has died."""
BEHIND_MS = 250
"""How often it looks whether more of the lost messages can be sent."""
STUCK_S = 1.0
"""When that is tried again which could not be done."""
ABSENCES_PER_LEASE = 3
"""A store that was away, or a machine that stood still, for longer than this part of a lease: leases have run out that
nobody could renew. For as long again none is taken from its holder. A worker renews at least three times a lease."""
TROUBLES = ("dispatch_failed", "repeat_failed", "depth_failed")
"""Faults that another process may not have: its broker is there, or it knows the time zone."""


class Clock:
    """A daemon thread; every step it takes is a claim in the store."""

    def __init__(
        self, engine: Engine, *, stalled_check_ms: int, max_stalled: int, grace_ms: int, lease_ms: int
    ) -> None:
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._engine = engine
        self._clocks = engine.store.clocks
        self._stalled_check_s = stalled_check_ms / 1000
        self._max_stalled = max_stalled
        self._grace_ms = grace_ms
        self._absence_s = lease_ms / 1000 / ABSENCES_PER_LEASE
        self._redelivery = Redelivery(engine, grace_ms)
        self._leads = False
        self._troubles = 0
        """How many there were before this round."""
        self._next_recovery = self._next_redelivery = self._patient_until = 0.0
        self._was_patient = False
        """Whether nothing has been recovered since it was."""
        self._expected = time.time()
        """When it should look again. By the system's time, which goes on while the machine stands still."""
        self._stuck: dict[Callable[[Engine], bool], float] = {}
        """When the verbs are tried again that could not do all."""
        self._stop = threading.Event()
        self._causes = Causes()
        self._round = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="stratix-clock", daemon=True)

    @classmethod
    def of(cls, engine: Engine, options: WorkerOptions) -> Clock:
        """One as the worker's options say."""
        return cls(
            engine,
            stalled_check_ms=options.stalled_check_interval,
            max_stalled=options.max_stalled_count,
            grace_ms=options.redelivery_grace,
            lease_ms=options.lease_duration,
        )

    @property
    def idle_ms(self) -> int:
        """Time since it last did everything that was due, or knew that another clock leads."""
        return int((time.monotonic() - self._round) * 1000)

    def start(self) -> None:
        self._thread.start()

    def tick(self) -> bool:
        """Do what is due by now, without a thread; return whether this clock leads."""
        try:
            while self._look() == 0 and not self._stop.is_set():
                pass
            return self._leads
        finally:
            self._resign()

    def stop(self) -> None:
        """Another clock may lead at once."""
        self._stop.set()
        self._resign()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                rest_ms = self._look()
                failures = 0
                self._engine.reached("", "clock_failed")
                self._round = time.monotonic()
                if not self._stop.is_set():  # who stops it ends no rest that begins later
                    self._rest(rest_ms)
            except Exception as error:
                failures += 1
                if not isinstance(error, Unavailable):  # a bug of ours must not stop the clock
                    logger.exception("the clock failed", extra={"action": "clock_failed"})
                self._engine.report("", error, "clock_failed")
                self._stop.wait(pause_s(failures))
        if self._leads:  # it has become the leader again meanwhile
            self._resign()

    def _look(self) -> int:
        """Do what is due if this clock leads; return the milliseconds until there is something to do."""
        rest_ms = self._look_once()
        self._expected = time.time() + rest_ms / 1000
        return rest_ms

    def _look_once(self) -> int:
        troubles = sum(self._engine.faults[trouble] for trouble in TROUBLES)
        lead = self._clocks.lead(self.id, REST_MS, yields=troubles > self._troubles)
        self._troubles = troubles
        led, self._leads = self._leads, lead.leads
        is_late = time.time() > self._expected + self._absence_s
        if is_late and not (led and self._was_patient):  # where each look is late, something is recovered all the same
            self._patient_until, self._was_patient = time.monotonic() + self._absence_s, True
        if not lead.leads:
            return lead.next_ms or 1  # until its time is over, if it does not ask again
        if not led:
            self._next_recovery = self._next_redelivery = 0.0
        self._next_recovery = max(self._next_recovery, self._patient_until)
        if self._do(lead):
            return 0
        now = time.monotonic()
        times = (self._next_recovery, self._next_redelivery, *(at for at in self._stuck.values() if at > now))
        rests = [REST_MS, *(int((at - now) * 1000) for at in times)]
        if lead.next_ms is not None:
            rests.append(lead.next_ms)
        if self._redelivery.is_behind:
            rests.append(BEHIND_MS)
        return max(min(rests), 1)

    def _do(self, lead: Lead) -> bool:
        """Whether something was due and is done. What could not be done is tried again in a while."""
        now, done = time.monotonic(), False
        for verb, is_due in ((promote, lead.promote), (repeat, lead.repeat)):
            if not is_due or now < self._stuck.get(verb, 0.0):
                continue
            if self._try(partial(verb, self._engine)):
                done = True
            else:
                self._stuck[verb] = now + STUCK_S
        if now >= self._next_recovery:
            self._try(lambda: recover(self._engine, self._max_stalled, lead.expire))
            self._next_recovery, self._was_patient = now + self._stalled_check_s, False
        if now >= self._next_redelivery:
            self._try(self._redelivery.look)
            self._next_redelivery = now + self._grace_ms / 2000
        self._try(self._redelivery.go_on)
        return done

    def _rest(self, for_ms: int) -> None:
        if self._leads:
            self._clocks.rest(self.id, for_ms)
        else:
            self._stop.wait(for_ms / 1000)

    def _resign(self) -> None:
        with suppress(Unavailable):  # its time is over soon
            self._clocks.resign(self.id)

    def _try(self, step: Callable[[], Result]) -> Result | None:
        """A step that something in the store makes fail must not keep the others from being taken."""
        try:
            return step()
        except Unavailable:
            raise
        except Exception as error:
            if self._causes.is_new(error):
                self._engine.report("", error, "clock_failed")
            return None
