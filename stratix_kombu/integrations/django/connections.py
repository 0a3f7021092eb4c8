"""Connections to the database are closed around jobs as they are around requests: those that are too old or broken."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, reset_queries


class _Tidy:
    """Before and after; for plain and for ``async def`` handlers, whose queries are made in a thread of asgiref's."""

    def __enter__(self) -> None:
        reset_queries()
        close_old_connections()

    def __exit__(self, *_: object) -> None:
        close_old_connections()

    async def __aenter__(self) -> None:
        await sync_to_async(self.__enter__)()

    async def __aexit__(self, *_: object) -> None:
        await sync_to_async(self.__exit__)()


def connections_of_a_job(job: Any) -> _Tidy:
    """Middleware around run."""
    return _Tidy()
