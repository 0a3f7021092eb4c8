"""What must not be shown: passwords, keys and tokens, as they are and as they stand in URLs; and how a URL is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote

from stratix_kombu.model.text import plain_host

_QUOTED_SIX = re.compile(r"(?<=[/@])(%5B)?[0-9A-Fa-f]*%3A[0-9A-Fa-f]*%3A[^:/;@]*(?=[:/;]|\Z)(?!:[^/]*@)")


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


def in_brackets(url: str) -> str:
    """A URL in which Kombu has quoted an IPv6 address, with that address as it is written.

    >>> in_brackets("amqp://guest:***@%3A%3A1:5672//")
    'amqp://guest:***@[::1]:5672//'
    """
    return _QUOTED_SIX.sub(lambda found: f"[{plain_host(unquote(found[0]))}]", url)
