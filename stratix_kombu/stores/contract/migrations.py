"""The tables of a store that has some."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Migrations(ABC):
    """Numbered scripts that make the tables of a namespace, and bring those of an earlier release up to date. Raises
    StoreUnavailable, and ConfigurationError for a database that cannot be used."""

    @abstractmethod
    def pending(self) -> list[str]:
        """The names of the scripts that were not applied yet."""

    @abstractmethod
    def script(self, after: int | None = None) -> str:
        """The statements of those that are pending, for another tool, to be run in one transaction; with ``after``, of
        those after that version, without asking the database."""

    @abstractmethod
    def migrate(self) -> tuple[int, int]:
        """Apply what is pending; the versions before and after."""
