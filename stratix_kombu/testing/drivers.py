"""The conformance suite of drivers.

Subclass it in a test module and give it a fixture ``driver``; optionally ``foreign`` to send a message of another
program.

>>> class TestMyDriver(DriverSuite):  # doctest: +SKIP
...     @pytest.fixture
...     def driver(self): ...
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from stratix_kombu.drivers.contract import Delivery, Receiver, TransportDriver
from stratix_kombu.model.record import Ready
from stratix_kombu.testing.forking import together

DEADLINE_S = 20.0
"""How long a message may take, on the slowest transport."""


def ready(queue: str, count: int, priority: int = 0) -> list[Ready]:
    """The permits of that many jobs."""
    return [Ready(f"{uuid.uuid4()}", queue, f"name-{number}", priority) for number in range(count)]


def take(receiver: Receiver, count: int, limit: int = 10) -> list[Delivery]:
    """Receive until there are ``count``, acknowledging each; never more at once than ``limit``."""
    taken: list[Delivery] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(taken) < count:
        assert time.monotonic() < deadline, f"only {len(taken)} of {count} messages came"
        received = receiver.receive(limit, 0.5)
        assert len(received) <= limit
        receiver.acknowledge(received)
        taken += received
    return taken


def hold(receiver: Receiver, limit: int, held: list[Delivery]) -> int:
    """Receive without acknowledging; how many are held."""
    held += receiver.receive(limit, 0.5)
    return len(held)


class DriverSuite:
    """What every TransportDriver must do."""

    @pytest.fixture
    def driver(self) -> TransportDriver:
        """The driver, initialised, with broker queues of its own; close it afterwards."""
        raise NotImplementedError("give the suite a fixture 'driver'")

    @pytest.fixture
    def queue(self) -> str:
        """A queue of its own."""
        return f"q{uuid.uuid4().hex[:10]}"

    @pytest.fixture
    def foreign(self) -> Callable[[TransportDriver, str], None] | None:
        """Sends one message of another program to a queue; None = cannot be done here."""
        return None

    @pytest.mark.parametrize("count", [1, 25, 300])
    def test_what_is_published_is_received_once(self, driver: TransportDriver, queue: str, count: int) -> None:
        jobs = ready(queue, count)
        driver.publish(jobs)
        receiver = driver.receiver(queue, 10)
        try:
            taken = take(receiver, count)
            assert Counter(one.job_id for one in taken) == Counter(job.id for job in jobs)
            assert not any(one.problem for one in taken)
            assert receiver.receive(10, 0.2) == []
        finally:
            receiver.close()

    def test_publishing_nothing_is_no_error(self, driver: TransportDriver) -> None:
        driver.publish([])

    def test_jobs_of_several_queues_at_once(self, driver: TransportDriver, queue: str) -> None:
        other = f"{queue}b"
        driver.publish([*ready(queue, 3), *ready(other, 2)])
        for name, count in ((queue, 3), (other, 2)):
            receiver = driver.receiver(name, 10)
            take(receiver, count)
            receiver.close()

    @pytest.mark.parametrize("limit", [1, 3])
    def test_no_more_is_taken_than_the_limit(self, driver: TransportDriver, queue: str, limit: int) -> None:
        driver.publish(ready(queue, 12))
        first, second = driver.receiver(queue, limit), driver.receiver(queue, 20)
        try:
            held: list[Delivery] = []
            rest: list[Delivery] = []
            self._until(lambda: hold(first, limit, held) > 0)

            def all_have_come() -> bool:
                """What the broker has sent to the first one and it has not given yet is not for the second one."""
                if len(held) < limit:
                    hold(first, limit - len(held), held)
                received = second.receive(10, 0.5)
                second.acknowledge(received)
                rest.extend(received)
                return len(held) + len(rest) >= 12

            self._until(all_have_come)
            assert len(held) <= limit
            assert len({one.job_id for one in (*held, *rest)}) == 12
        finally:
            first.close()
            second.close()

    def test_a_waiting_receiver_is_woken(self, driver: TransportDriver, queue: str) -> None:
        receiver = driver.receiver(queue, 1)
        receiver.receive(1, 0.05)
        woken: list[Delivery] = []
        thread = threading.Thread(target=lambda: woken.extend(receiver.receive(1, DEADLINE_S)))
        thread.start()
        (job,) = ready(queue, 1)
        driver.publish([job])
        thread.join(DEADLINE_S / 2)
        assert [one.job_id for one in woken] == [job.id]
        receiver.acknowledge(woken)
        receiver.close()

    def test_receivers_share_a_queue(self, driver: TransportDriver, queue: str) -> None:
        jobs = ready(queue, 60)
        driver.publish(jobs)
        taken: Counter[str | None] = Counter()
        lock = threading.Lock()

        def work() -> None:
            receiver = driver.receiver(queue, 5)
            deadline = time.monotonic() + DEADLINE_S
            while sum(taken.values()) < 60 and time.monotonic() < deadline:
                received = receiver.receive(5, 0.2)
                receiver.acknowledge(received)
                with lock:
                    taken.update(one.job_id for one in received)
            receiver.close()

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert taken.keys() == {job.id for job in jobs}
        if driver.capabilities.ordered:  # a broker that promises no order may also deliver twice, as SQS does
            assert set(taken.values()) == {1}

    def test_what_is_given_back_comes_again(self, driver: TransportDriver, queue: str) -> None:
        jobs = ready(queue, 4)
        driver.publish(jobs)
        first = driver.receiver(queue, 10)
        held: list[Delivery] = []
        self._until(lambda: hold(first, 10, held) == 4)
        first.acknowledge(held[:1])
        first.give_back(held[1:])
        second = driver.receiver(queue, 10)
        try:
            assert {one.job_id for one in take(second, 3)} == {claim.job_id for claim in held[1:]}
        finally:
            first.close()
            second.close()

    def test_what_is_refused_does_not_come_again(self, driver: TransportDriver, queue: str) -> None:
        driver.publish(ready(queue, 2))
        receiver = driver.receiver(queue, 10)
        held: list[Delivery] = []
        self._until(lambda: hold(receiver, 10, held) == 2)
        receiver.refuse(held)
        receiver.close()
        other = driver.receiver(queue, 10)
        try:
            assert other.receive(10, 0.3) == []
        finally:
            other.close()

    def test_a_receiver_of_much_patience_can_be_interrupted(self, driver: TransportDriver, queue: str) -> None:
        receiver = driver.receiver(queue, 1)
        if receiver.patience <= 1:
            receiver.close()
            pytest.skip("its receivers wait for a second at most")
        waiting = threading.Thread(target=receiver.receive, args=(1, receiver.patience))
        waiting.start()
        receiver.interrupt()
        waiting.join(receiver.patience / 2)
        assert not waiting.is_alive()
        assert receiver.receive(1, receiver.patience) == []
        receiver.close()

    def test_closing_returns_what_was_not_decided(self, driver: TransportDriver, queue: str) -> None:
        driver.publish(ready(queue, 3))
        first = driver.receiver(queue, 10)
        held: list[Delivery] = []
        self._until(lambda: hold(first, 10, held) == 3)
        first.close()
        second = driver.receiver(queue, 10)
        try:
            assert {one.job_id for one in take(second, 3)} == {claim.job_id for claim in held}
        finally:
            second.close()

    def test_what_is_acknowledged_is_gone_after_closing(self, driver: TransportDriver, queue: str) -> None:
        driver.publish(ready(queue, 5))
        first = driver.receiver(queue, 10)
        take(first, 5)
        first.close()
        self._until(lambda: driver.depth(queue) in (0, None))
        second = driver.receiver(queue, 10)
        assert second.receive(10, 0.3) == []
        second.close()

    def test_depth_and_purge(self, driver: TransportDriver, queue: str) -> None:
        assert driver.depth(queue) in (0, None)
        driver.publish(ready(queue, 7))
        self._until(lambda: driver.depth(queue) in (7, None))
        driver.purge(queue)
        self._until(lambda: driver.depth(queue) in (0, None))

    def test_a_message_of_another_program_is_told_apart(
        self, driver: TransportDriver, queue: str, foreign: Callable[[TransportDriver, str], None] | None
    ) -> None:
        if foreign is None:
            pytest.skip("there is no fixture 'foreign' that sends a message of another program")
        driver.publish(ready(queue, 1))
        foreign(driver, queue)
        driver.publish(ready(queue, 1))
        receiver = driver.receiver(queue, 10)
        try:
            taken = take(receiver, 3)
            strangers = [one for one in taken if one.job_id is None]
            assert len(strangers) == 1
            assert strangers[0].problem
        finally:
            receiver.close()

    def test_messages_come_in_order(self, driver: TransportDriver, queue: str) -> None:
        """Whatever priority a job has: its permit is like any other."""
        if not driver.capabilities.ordered:
            pytest.skip("the driver does not promise an order")
        jobs = [replace(job, priority=9 - 9 * (number % 2)) for number, job in enumerate(ready(queue, 20))]
        driver.publish(jobs)
        receiver = driver.receiver(queue, 1)
        try:
            assert [one.job_id for one in take(receiver, 20, limit=1)] == [job.id for job in jobs]
        finally:
            receiver.close()

    def test_a_worker_that_needs_no_message_does_not_wait_for_one(self, driver: TransportDriver, queue: str) -> None:
        receiver = driver.receiver(queue, 10)
        try:
            began = time.monotonic()
            assert receiver.receive(10, 0) == []
            assert time.monotonic() - began < DEADLINE_S / 2
            jobs = ready(queue, 3)
            driver.publish(jobs)
            taken: list[Delivery] = []

            def take_at_once() -> bool:
                received = receiver.receive(10, 0)
                receiver.acknowledge(received)
                taken.extend(received)
                return len(taken) == 3

            self._until(take_at_once)
            assert {one.job_id for one in taken} == {job.id for job in jobs}
        finally:
            receiver.close()

    def test_a_permit_that_names_no_job(self, driver: TransportDriver, queue: str) -> None:
        driver.publish([Ready("", queue), Ready("", queue, group="g")])
        receiver = driver.receiver(queue, 10)
        try:
            assert all(one.job_id for one in take(receiver, 2))
        finally:
            receiver.close()

    def test_many_queues_are_waited_for_together(self, driver: TransportDriver, queue: str) -> None:
        """Each message comes once; what a receiver adopts is its own; nothing comes of queues that are not named."""
        watcher = driver.watcher()
        if watcher is None:
            pytest.skip("its receivers wait for one queue each")
        queues = [f"{queue}-{n}" for n in range(5)]
        sent = [one for name in queues for one in ready(name, 2)]
        driver.publish([*sent, *ready(f"{queue}-other", 1)])
        found: dict[str, list[Delivery]] = {name: [] for name in queues}
        while sum(map(len, found.values())) < len(sent):
            name, deliveries = watcher.wait(queues, DEADLINE_S) or ("", [])
            found[name] += deliveries
        assert {one.job_id for each in found.values() for one in each} == {one.id for one in sent}
        assert {len(each) for each in found.values()} == {2}
        receiver = driver.receiver(queues[0], 5)
        first, second = found[queues[0]]
        receiver.adopt([first, second])
        receiver.acknowledge([first])
        receiver.give_back([second])
        watcher.give_back(found[queues[1]])
        again = [watcher.wait(queues[:2], DEADLINE_S) for _ in range(3)]
        assert sorted(one[0] for one in again if one) == [queues[0], queues[1], queues[1]]
        receiver.close()
        watcher.close()

    def test_waiting_for_many_queues_is_interrupted(self, driver: TransportDriver, queue: str) -> None:
        watcher = driver.watcher()
        if watcher is None:
            pytest.skip("its receivers wait for one queue each")
        found: list[object] = []
        watcher.interrupt()
        assert watcher.wait([queue], DEADLINE_S) is None, "before it began"
        waiting = threading.Thread(target=lambda: found.append(watcher.wait([queue], DEADLINE_S)))
        waiting.start()
        watcher.interrupt()
        waiting.join(DEADLINE_S / 2)
        assert found == [None]
        driver.publish(ready(queue, 1))
        assert watcher.wait([queue], DEADLINE_S) is not None
        assert watcher.wait([queue], 0.01) is None
        watcher.close()

    def test_many_threads_publish(self, driver: TransportDriver, queue: str) -> None:
        batches = [ready(queue, 10) for _ in range(8)]
        threads = [threading.Thread(target=driver.publish, args=(batch,)) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        receiver = driver.receiver(queue, 10)
        try:
            taken = take(receiver, 80)
            assert Counter(one.job_id for one in taken) == Counter(job.id for batch in batches for job in batch)
        finally:
            receiver.close()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
    def test_parent_and_children_go_on_after_a_fork(self, driver: TransportDriver, queue: str) -> None:
        """Both publish and receive; messages received before belong to the parent. A driver that is not shared is
        copied."""
        driver.publish(ready(queue, 2))
        receiver = driver.receiver(queue, 10)
        held: list[Delivery] = []
        self._until(lambda: hold(receiver, 10, held) == 2)

        def work(me: str) -> list[str]:
            jobs, own = ready(queue, 20), ready(f"{queue}{me}", 5)
            for job in jobs:
                driver.publish([job])
            driver.publish(own)
            if me != "parent":
                receiver.close()
            mine = driver.receiver(f"{queue}{me}", 10)
            assert sorted(str(one.job_id) for one in take(mine, 5)) == sorted(one.id for one in own)
            mine.close()
            return [one.id for one in jobs]

        answers = together(2, work)
        receiver.acknowledge(held)
        published = [job_id for ids in (answers if driver.capabilities.shared else answers[-1:]) for job_id in ids]
        try:
            taken = {str(one.job_id) for one in take(receiver, len(published))}
            while not driver.capabilities.ordered and (missing := set(published) - taken):  # others came twice
                taken |= {str(one.job_id) for one in take(receiver, 1, len(missing))}
            assert taken == set(published)
            assert not driver.capabilities.ordered or receiver.receive(10, 0.2) == []
        finally:
            receiver.close()

    def test_it_can_be_used_again_after_it_was_closed(self, driver: TransportDriver, queue: str) -> None:
        """As when an application is closed, opened and started again; a producer does not call ``init``."""
        for initialised in (False, True):
            driver.publish(ready(queue, 2))
            driver.close()
            driver.close()
            if initialised:
                driver.init()
            driver.publish(ready(queue, 2))
            receiver = driver.receiver(queue, 10)
            take(receiver, 4)
            receiver.close()

    def test_health_and_name(self, driver: TransportDriver) -> None:
        assert driver.check_health() is True
        assert driver.get_name()

    @staticmethod
    def _until(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)
