"""How a connection is encrypted, in one form for every server: trusted certificates, and our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from stratix_kombu.errors import ConfigurationError, nearest_option
from stratix_kombu.model.names import snake


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """Files are paths to PEM. The server's certificate and its host name are verified unless ``verify`` is False."""

    ca: str | None = None
    """Certificates to trust; None = those of the system."""
    cert: str | None = None
    key: str | None = None
    """Our own certificate and its key, where the server asks for one."""
    verify: bool = True
    server_name: str | None = None
    """The name in the server's certificate, where it is not the host of the URL."""

    @classmethod
    def parse(cls, value: Any, what: str) -> TlsOptions | None:
        """``True``, ``False`` (also as text), or a mapping of the fields; None = no TLS. Raises ConfigurationError.

        >>> TlsOptions.parse({"ca": "ca.pem"}, "'ssl'").verify
        True
        """
        if isinstance(value, TlsOptions):
            return value
        if not isinstance(value, Mapping):
            return cls() if switch(value, what) else None
        known = [field.name for field in fields(cls)]
        given: dict[str, Any] = {}
        for name, one in value.items():
            key = snake(str(name))
            if key not in known:
                raise ConfigurationError(f"{what}: unknown option {name!r}{nearest_option(key, known)}")
            given[key] = switch(one, f"{what}: 'verify'") if key == "verify" else str(one)
        if ("cert" in given) != ("key" in given):
            raise ConfigurationError(f"{what}: 'cert' and 'key' belong together")
        return cls(**given)


def switch(value: Any, what: str) -> bool:
    """True or False, also from text, as environment and URL give it."""
    if isinstance(value, bool):
        return value
    if str(value).lower() not in ("true", "false", "1", "0"):
        raise ConfigurationError(f"{what} must be true or false, not {value!r}")
    return str(value).lower() in ("true", "1")
