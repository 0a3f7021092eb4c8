"""Which handlers of this process are to end."""

from __future__ import annotations


class Cancellations:
    """Claims whose handlers are asked to end, by token: they were cancelled, have timed out, or their lease was lost.
    Safe to share between threads."""

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._spared: set[str] = set()

    def ask(self, token: str) -> None:
        """Have the handler of this claim end; a plain function sees it as ``job.cancelled``."""
        self._tokens.add(token)

    def is_asked(self, token: str) -> bool:
        """Whether the handler of this claim is to end."""
        return token in self._tokens

    def spare(self, token: str) -> None:
        """The handler completes its job itself: that its claim is no longer held does not end it."""
        self._spared.add(token)

    def is_spared(self, token: str) -> bool:
        """Whether the handler of this claim may have completed its job."""
        return token in self._spared

    def forget(self, token: str) -> None:
        """The handler has ended."""
        self._tokens.discard(token)
        self._spared.discard(token)
