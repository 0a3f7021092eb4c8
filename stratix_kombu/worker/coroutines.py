"""``async def`` handlers and hooks run on one event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from stratix_kombu import forks
from stratix_kombu.model.awaiting import NotFinished, finished, is_awaitable, outcome_of

if TYPE_CHECKING:
    from stratix_kombu.worker.attempt import Attempt

    Run = Callable[[Attempt], Coroutine[Any, Any, None]]
Result = TypeVar("Result")


class LoopExecutor:
    """Starts its loop with the first claim, or the first thing to await. All queues of an application may share one."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._new: deque[tuple[Attempt, Run]] = deque()
        """Attempts that the loop has not begun yet."""
        self._begins = False
        """Whether it is about to begin them: it is woken once for many."""
        forks.register(self)

    def after_fork(self) -> None:
        """The loop is kept as it is: to close it would take its descriptors out of the parent's selector."""
        if self._loop is not None:
            forks.keep(self._loop)
        self._loop, self._thread, self._lock, self._tasks = None, None, threading.Lock(), {}
        self._new, self._begins = deque(), False

    def submit(self, attempt: Attempt, run: Run) -> None:
        """Run an attempt; callable from any thread. Raises RuntimeError or OSError if the system has no thread or
        descriptor left for the loop."""
        loop = self._running_loop()
        self._new.append((attempt, run))
        if not self._begins:
            self._begins = True
            loop.call_soon_threadsafe(self._begin)

    def cancel(self, token: str) -> None:
        """Cancel the attempt's task, if it still runs."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(lambda: token in self._tasks and self._tasks[token].cancel())

    def finish(self, value: Any, seconds: float | None = None) -> Any:
        """The return value of a user's function; an awaitable is awaited on this loop. Raises what it raises; after the
        given number of seconds it is cancelled, and NotFinished is raised."""
        if not is_awaitable(value) or self.is_here:
            return finished(value, seconds)
        work = self.begin(outcome_of(value))
        try:
            result, error = work.result(seconds)
        except concurrent.futures.TimeoutError as late:
            work.cancel()
            raise NotFinished from late
        if error is not None:
            raise error
        return result

    def begin(self, work: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """Run it from now on, in the context of the caller; it may raise nothing but what is an Exception. Raises as
        ``submit``."""
        return asyncio.run_coroutine_threadsafe(work, self._running_loop())

    def call(self, function: Callable[[], object]) -> None:
        """Have it called on the loop, after what was begun before."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(function)

    @property
    def is_here(self) -> bool:
        """Whether this is called on its own loop, which a blocking call would block."""
        return self._thread is not None and threading.current_thread() is self._thread

    def stop(self) -> None:
        """Cancel what still runs and end the loop."""
        with self._lock:
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._shutdown(), loop)
        thread.join(timeout=5)

    async def _shutdown(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=2) if tasks else None
        asyncio.get_running_loop().stop()

    def _begin(self) -> None:
        self._begins = False  # what is submitted from now on wakes the loop again
        while self._new:
            self._spawn(*self._new.popleft())

    def _spawn(self, attempt: Attempt, run: Run) -> None:
        name = f"stratix-{attempt.claim.record.id}"
        task = asyncio.get_running_loop().create_task(run(attempt), name=name)
        self._tasks[attempt.token] = task  # the loop itself keeps only weak references
        task.add_done_callback(lambda _: self._tasks.pop(attempt.token, None))

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=_run_loop, args=(loop,), name="stratix-loop", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    loop.close()
                    raise
                self._loop, self._thread = loop, thread
            return self._loop


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
