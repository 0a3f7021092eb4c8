"""A store that was used before a fork goes on in parent and children."""

from __future__ import annotations

import os
import threading

import pytest

from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.forking import together
from stratix_kombu.testing.stores.base import QUEUE, StoreCase, new

ROUNDS = 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
class ForkSuite(StoreCase):
    @pytest.mark.parametrize("busy", [0, 2])
    def test_parent_and_children_get_their_own_answers(self, store: Store, busy: int) -> None:
        """Also while other threads of the parent are in the middle of a step. A store that is not shared is copied."""
        self.add(store, new("before"))
        store.events.read(QUEUE, "0")
        stop = threading.Event()

        def go_on() -> None:
            while not stop.is_set():
                store.queries.status(QUEUE)
                store.locks.acquire("busy", "token", 1)

        threads = [threading.Thread(target=go_on) for _ in range(busy)]
        for thread in threads:
            thread.start()
        try:
            assert together(2, lambda me: self._wrong(store, me)) == [[], [], []]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        finished = [f"{me}-{number}" for me in ("child0", "child1", "parent") for number in range(ROUNDS)]
        expected = finished if store.shared else finished[2 * ROUNDS :]
        assert [one for one in finished if self.states(store, one) == ["completed"]] == expected
        assert self.states(store, "before") == ["waiting"]

    def _wrong(self, store: Store, me: str) -> list[str]:
        """Add, read, run and listen; what was not as it should be."""
        wrong = []
        cursor = store.events.tail(f"own-{me}")
        for number in range(ROUNDS):
            job_id = f"{me}-{number}"
            self.add(store, new(job_id, data=f'"{job_id}"'))
            if self.record(store, job_id).data != f'"{job_id}"':
                wrong.append(job_id)
            self.complete(store, job_id, result=f'"{job_id}"')
            store.events.append(f"own-{me}", "seen", value=f'"{job_id}"')
        heard = [one.value for one in store.events.read(f"own-{me}", cursor)]
        return wrong if len(heard) == ROUNDS else [*wrong, f"heard {heard}"]
