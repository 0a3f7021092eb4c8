"""What must not be shown: passwords, keys and tokens, as they are and as they stand in URLs."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, quote_plus


def forms_of(secrets: Iterable[object]) -> list[str]:
    """All ways in which secrets may be written, the longest first; nothing for those that are not set."""
    given = [str(secret) for secret in secrets if secret]
    forms = {
        form
        for secret in given
        for form in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret), repr(secret)[1:-1])
    }
    return sorted(forms, key=len, reverse=True)


def masked(text: str, secrets: Iterable[object]) -> str:
    """The text with ``***`` instead of each secret.

    >>> masked("amqp://guest:s%2Fecret@host", ["s/ecret"])
    'amqp://guest:***@host'
    """
    for form in forms_of(secrets):
        text = text.replace(form, "***")
    return text
