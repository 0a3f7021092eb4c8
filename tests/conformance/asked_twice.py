"""A Redis store that loses every other answer, and asks again."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from stratix_kombu.stores.redis import RedisStore, open_redis_store
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.scripts import digest, is_once

_ALL = [one.name.removesuffix(".lua") for one in files("stratix_kombu.stores.redis").joinpath("lua").iterdir()]
ONCE = sorted(name for name in _ALL if name != "includes" and is_once(name))
_SAME = {digest(name) for name in (*ONCE, "take", "add_fresh", "add_task")}
"""What answers the same; the clock's steps go on with what is left."""


class AskingTwice:
    """A client that sends a step twice and gives the second answer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked = 0

    def run(self, *command: Any, again: bool = False, **how: Any) -> Any:
        if again and command[0] == "EVALSHA" and command[1] in _SAME:
            self._asked += 1
            if self._asked % 2:
                self._client.run(*command, again=again, **how)
        return self._client.run(*command, again=again, **how)


def open_asking_twice(url: str, namespace: str) -> RedisStore:
    store = open_redis_store({"url": url}, namespace=namespace)
    scripts: Any = store._transitions._scripts
    scripts._client = AskingTwice(scripts._client)
    return store
