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
from stratix_kombu.stores.postgres.session import array_of
from stratix_kombu.stores.sql.database import Read

LOCK = "SELECT pg_current_xact_id()::text, pg_try_advisory_xact_lock(CAST(%s AS bigint))"
OPEN = (
    "SELECT token FROM unnest(CAST(? AS text[]), CAST(? AS bigint[])) AS given (token, key) "
    "WHERE NOT pg_try_advisory_xact_lock(key)"
)
"""Locks the keys of claims; those that the transactions of users hold."""
CAME = "SELECT token FROM completions WHERE token = ANY(CAST(? AS text[]))"
"""Asked after that, by a statement of its own: what was committed by then."""
NOT_OPEN = (
    "SELECT 1 / CASE WHEN bool_and(pg_try_advisory_xact_lock(key)) THEN 1 ELSE 0 END "
    "FROM unnest(CAST(? AS bigint[])) AS given (key)"
)
NONE_CAME = "SELECT 1 / CASE WHEN EXISTS (SELECT 1 FROM completions) THEN 0 ELSE 1 END"
"""The same where it is taken for granted that there are none: refused (a division by zero) where that is wrong."""
END_CLAIMS = "SELECT * FROM end_claims(CAST(? AS json), true)"
_CLAIM = "SELECT cancelled FROM jobs WHERE id = ? AND state = 'active' AND token = ?"
Rows = Sequence[Sequence[Any]]
Statement = tuple[str, list[Any]]


def key_of(schema: str, token: str) -> int:
    """The number of the advisory lock of a claim."""
    return lock_of(f"completion:{schema}:{token}")


def completing(schema: str, tokens: Sequence[str]) -> list[Read]:
    """Ask which of these claims are completed by transactions that are under way, and which by some that have come."""
    keys = array_of(key_of(schema, token) for token in tokens)
    claims = array_of(tokens)
    return [(OPEN, (claims, keys)), (CAME, (claims,))]


def none_completing(schema: str, tokens: Iterable[str]) -> list[Read]:
    """Have the step refused if one of these claims is, or may be, completed by a transaction."""
    return [(NOT_OPEN, (array_of(key_of(schema, token) for token in tokens),)), (NONE_CAME, ())]


def overtaking(schema: str, tokens: Iterable[str]) -> Read:
    """Asks which of these claims must not be ended by a step, see ``end_claims``; the transactions that complete the
    others cannot be committed."""
    return END_CLAIMS, (json.dumps({token: key_of(schema, token) for token in tokens}),)


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
