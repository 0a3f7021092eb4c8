"""The beginning of a sorted list that is in the database: read in pages, and ahead of the table within a step."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator

from stratix_kombu.stores.memory.order import Key

Read = Callable[[Key | None, Key | None, int], list[Key]]
"""Keys after one, else from another one on, else all; so many at most."""
READ_AT_ONCE = 100
KEPT = 2_000
"""Keys that are known from one step to the next."""


class Keys:
    """Jobs by priority, place and id. ``read`` answers those in the table after a key, or from the floor on; ``count``
    is kept beside, and ``changed`` is told by how much."""

    def __init__(self, count: int, read: Read, changed: Callable[[int], None] | None = None) -> None:
        self.count = count
        self.floor: Key | None = None
        """No key is less: where the table is read from. Before it may be any number of rows that are gone, but that
        the database has not cleared away."""
        self._read = read
        self._changed = changed
        self._head: list[Key] = []
        """All there are up to ``_end``; all, if ``_whole``."""
        self._end: Key | None = None
        self._whole = count == 0
        self._late: set[Key] = set()
        """Beyond that, what has come in this step; and what has gone, but is in the table still."""
        self._gone: set[Key] = set()

    def _is_read(self, key: Key) -> bool:
        return self._whole or (self._end is not None and key <= self._end)

    def _have(self, wanted: int) -> None:
        while len(self._head) < wanted and not self._whole:
            limit = min(max(wanted, READ_AT_ONCE), 1_000)
            page = self._read(self._end, self.floor, limit)
            self._whole = len(page) < limit
            if page:
                self._end = page[-1]
            came = {one for one in self._late if self._is_read(one)}
            self._late -= came
            self._head += sorted(came.union(one for one in page if one not in self._gone))

    def flush(self) -> None:
        """The table is about to be as this is; of a long beginning not all is kept."""
        if self._head:
            self.floor = self._head[0]
        self._late.clear()
        self._gone.clear()
        if len(self._head) > KEPT:
            del self._head[KEPT // 2 :]
            self._end, self._whole = self._head[-1], False

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, where: int | slice) -> Key | list[Key]:
        if isinstance(where, slice):
            self._have(min(where.stop, self.count))
            return self._head[where]
        self._have(where + 1)
        return self._head[where]

    def __iter__(self) -> Iterator[Key]:
        place = 0
        while place < self.count:
            self._have(place + 1)
            yield self._head[place]
            place += 1

    def add(self, key: Key) -> None:
        self._count(1)
        if self.floor is not None and key < self.floor:
            self.floor = key
        if self._is_read(key):
            insort(self._head, key)
        else:
            self._late.add(key)

    append = add

    def remove(self, key: Key) -> None:
        self._count(-1)
        if self._is_read(key):
            del self._head[bisect_left(self._head, key)]
        elif key in self._late:
            self._late.discard(key)
        else:
            self._gone.add(key)

    def __delitem__(self, first: slice) -> None:
        """The first of them."""
        removed = self._head[first]
        del self._head[first]
        self._count(-len(removed))

    def _count(self, by: int) -> None:
        self.count += by
        if self._changed is not None:
            self._changed(by)
