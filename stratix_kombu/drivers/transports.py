"""Kombu's transports: which there are, and whether one can be used here."""

from __future__ import annotations

from kombu.transport import TRANSPORT_ALIASES, get_transport_cls

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.hints import NO_OTHERS, hint_for


def check_scheme(url: str, driver: str) -> None:
    """Raise ConfigurationError if Kombu has no such transport."""
    scheme = _scheme(url)
    if scheme not in TRANSPORT_ALIASES:
        hint = hint_for(scheme, TRANSPORT_ALIASES, NO_OTHERS)
        raise ConfigurationError(f"{driver}: Kombu has no transport {scheme!r}{hint}")


def check_import(url: str) -> None:
    """Raise ConfigurationError if the transport lacks the package it needs."""
    scheme = _scheme(url)
    if scheme in TRANSPORT_ALIASES:
        try:
            get_transport_cls(scheme)
        except Exception as problem:  # one of them is a NameError
            raise ConfigurationError(
                f"Kombu's transport {scheme!r} cannot be imported, so the package it needs is probably not installed: "
                f"{type(problem).__name__}: {problem}"
            ) from problem


def _scheme(url: str) -> str:
    """The transport of a URL: ``sqla`` of ``sqla+sqlite:///jobs.db``."""
    return url.partition("://")[0].partition("+")[0]
