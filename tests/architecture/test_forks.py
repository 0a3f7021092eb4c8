"""Every owner of something that a forked child must not use has a rule for the child."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.test_shape import PACKAGE, SOURCES

KEPT = {
    "Lock",
    "RLock",
    "Condition",
    "Event",
    "Semaphore",
    "BoundedSemaphore",
    "Barrier",
    "Thread",
    "Timer",
    "socket",
    "socketpair",
    "create_connection",
    "SimpleQueue",
    "Queue",
    "LifoQueue",
    "PriorityQueue",
    "ThreadPoolExecutor",
    "ProcessPoolExecutor",
    "Popen",
    "DefaultSelector",
    "new_event_loop",
    "Redis",
    "RedisCluster",
    "Connection",
}
"""What makes a lock, thread, socket, queue, executor, process or loop."""

OF_A_WORKER = "a queue's worker and all of it are the parent's: the queue has none in the child"
WITHOUT_A_RULE = {
    "worker/slots.py Slots": OF_A_WORKER,
    "worker/threads.py ThreadExecutor": OF_A_WORKER,
    "worker/holdings.py Holdings": OF_A_WORKER,
    "worker/consumer.py Consumer": OF_A_WORKER,
    "worker/timeouts.py Timeouts": OF_A_WORKER,
    "worker/settler.py Settler": OF_A_WORKER,
    "worker/sandbox/pool.py SandboxPool": "the queue makes a new one; each Sandbox has a rule",
    "worker/sandbox/turns.py Turns": OF_A_WORKER,
    "worker/watch.py _Group": "Watch makes new ones",
    "lifecycle/clock.py Clock": "the parent's: QueueManager has none in the child",
    "lifecycle/outages.py Outages": "Engine makes a new one",
    "stores/memory/state.py Space": "MemoryStore gives it new locks",
    "stores/memory/leader.py Leader": "MemoryStore makes a new one",
    "feed.py Feed": "of an event loop, which does not run in the child",
    "feed.py _Follower": "of an event loop, which does not run in the child",
    "stores/contract/parts.py _OneByOne": "LogThread makes a new one",
    "queue/listeners.py Listener": "Listeners makes new ones",
    "celery/gathered.py Gathered": "Claims makes new ones",
    "celery/later.py Later": "Claims makes a new one",
    "celery/news.py News": "one wait: a process forked meanwhile does not go on with it",
    "celery/jobs.py Run": "one attempt: a process forked in it ends with the handler",
    "celery/interrupts.py Interruptible": "of one attempt; in a process forked in it nobody interrupts",
    "celery/remote.py Remote": "a thread of the program's, and a forked child runs no worker",
    "celery/program.py Quota": "it counts for the program, and a forked child runs no worker",
    "cli/supervisor.py Child": "the supervisor runs nobody's code, so nobody forks in it",
    "dashboard/server.py _Server": "it serves one command, in which nobody forks",
}
"""Each with its reason."""


def _called(node: ast.AST) -> set[str]:
    """Names of what is called to make a value."""
    calls = (one.func for one in ast.walk(node) if isinstance(one, ast.Call))
    return {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in calls}


def _targets(node: ast.Assign | ast.AnnAssign) -> Iterator[ast.AST]:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        yield from target.elts if isinstance(target, ast.Tuple) else [target]


def _keeps(cls: ast.ClassDef) -> bool:
    return any(
        node.value is not None
        and _called(node.value) & KEPT
        and any(isinstance(target, ast.Attribute) for target in _targets(node))
        for node in ast.walk(cls)
        if isinstance(node, ast.Assign | ast.AnnAssign)
    )


def _methods(cls: ast.ClassDef) -> set[str]:
    return {one.name for one in cls.body if isinstance(one, ast.FunctionDef)}


def test_every_owner_has_a_rule_or_a_reason() -> None:
    keepers = {
        f"{path.relative_to(PACKAGE)} {cls.name}": cls
        for path in SOURCES
        if "testing" not in path.parts
        for cls in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(cls, ast.ClassDef) and _keeps(cls)
    }
    assert len(keepers) > len(WITHOUT_A_RULE) + 10  # it finds them
    without = {name for name, cls in keepers.items() if "after_fork" not in _methods(cls)}
    assert without == set(WITHOUT_A_RULE)


def test_every_rule_is_registered() -> None:
    """By the class itself, or by one it is derived from."""
    unregistered = [
        f"{path.relative_to(PACKAGE)} {cls.name}"
        for path in SOURCES
        for cls in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(cls, ast.ClassDef) and "after_fork" in _methods(cls) and "register" not in _called(cls)
    ]
    derived = {
        "drivers/rabbitmq/link.py RabbitMQLink",
        "drivers/rabbitmq/driver.py RabbitMQDriver",
        "queue/events.py QueueEvents",
    }
    assert {one for one in unregistered if not one.endswith(" Owner")} - derived == set()
