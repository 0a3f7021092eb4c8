"""Completing jobs by a connection of the user's.

The user's transaction locks the key of the claim, and writes down the completion. ``recover`` tries that key before it
takes a job from its attempt, and leaves it alone while the transaction is under way. What ends the claim otherwise,
such as the attempt's own failure, makes the commit fail; and once the commit has made sure that the claim is held,
nothing else ends it. So either the transaction is committed and the job is completed, or neither.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from stratix_kombu.errors import ConfigurationError, JobCancelled, StaleClaim
from stratix_kombu.model.record import Held
from stratix_kombu.stores.postgres.database import PostgresDatabase
from stratix_kombu.stores.postgres.migrate import lock_of
from stratix_kombu.stores.sql.database import Read

LOCK = "SELECT pg_current_xact_id()::text, pg_try_advisory_xact_lock(CAST(%s AS bigint))"
END_CLAIMS = "SELECT * FROM end_claims(CAST(? AS json), CAST(? AS boolean))"
_CLAIM = "SELECT cancelled FROM jobs WHERE id = ? AND state = 'active' AND token = ?"
Rows = Sequence[Sequence[Any]]
Statement = tuple[str, list[Any]]


def key_of(schema: str, token: str) -> int:
    """The number of the advisory lock of a claim."""
    return lock_of(f"completion:{schema}:{token}")


def ending(schema: str, tokens: Iterable[str], overtakes: bool) -> Read:
    """Asks which of these claims must not be ended by a step, see ``end_claims``."""
    return END_CLAIMS, (json.dumps({token: key_of(schema, token) for token in tokens}), str(overtakes).lower())


def lock(database: PostgresDatabase, held: Held) -> Statement:
    """The first statement of the user's connection."""
    return LOCK, [key_of(database.options.schema, held.token)]


def completion(database: PostgresDatabase, held: Held, result: str, locked: Rows, notifies: bool) -> Statement:
    """The second one, if the claim is held: that is asked by a connection of the store's, since what the user's
    transaction sees may be old. Raises StaleClaim, JobCancelled."""
    ((within, is_free),) = locked
    if not is_free:
        raise StaleClaim(held.job_id)
    with database.reading() as db:
        found = db.one(_CLAIM, held.job_id, held.token)
    if found is None:
        raise StaleClaim(held.job_id)
    if found[0] is not None:
        raise JobCancelled(held.job_id)
    types = "CAST(%s AS text), CAST(%s AS text), CAST(%s AS text), CAST(%s AS text), CAST(%s AS boolean)"
    sql = f"SELECT {database.options.quoted_schema}.complete_1({types})"
    return sql, [held.job_id, held.token, result, within, notifies]


def check_completed(answer: Rows) -> None:
    """Raises ConfigurationError."""
    if not answer[0][0]:
        raise ConfigurationError(
            "complete_in: the connection is in no transaction (autocommit): nothing would belong to the completion"
        )
