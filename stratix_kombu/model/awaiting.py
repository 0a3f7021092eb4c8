"""What is no coroutine and is awaited all the same: it says what to write."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn


class NotAwaitable:
    """Answers of the plain methods. Whoever awaits one has meant ``aio``; what was asked for is done already."""

    __slots__ = ()
    _meant: ClassVar[str] = ""
    """What to write; ends the message."""

    if not TYPE_CHECKING:  # a type checker refuses the await itself

        def __await__(self) -> NoReturn:
            raise TypeError(
                f"a {type(self).__name__} cannot be awaited, and what was called is done: {self._meant}"
            )


def is_awaitable(value: Any) -> bool:
    """Whether a function of the user's has returned something to be awaited."""
    return inspect.isawaitable(value) and not isinstance(value, NotAwaitable)
