"""Texts that travel with a job beside its data: the context of a trace, say. They are kept with its options."""

from __future__ import annotations

import json
from collections.abc import Mapping

from stratix_kombu.errors import ConfigurationError, InvalidPayload
from stratix_kombu.model.codec import decode_mapping

HEADERS = "headers"
MAX_HEADERS_BYTES = 8192
"""W3C allows a ``tracestate`` of 512 bytes and ``baggage`` of 8192; who sends more is cut off before by others."""


def headers_of(options: str) -> dict[str, str]:
    """The headers among the options that were kept with a job; none if these cannot be read."""
    if f'"{HEADERS}"' not in options:
        return {}
    try:
        headers = decode_mapping(options, "the options of a job").get(HEADERS)
    except InvalidPayload:
        return {}
    return {str(name): str(value) for name, value in headers.items()} if isinstance(headers, dict) else {}


def with_headers(options: str, headers: Mapping[str, str]) -> str:
    """The options to be kept, with these headers. Raises ConfigurationError for what is no text, or too much."""
    if not all(isinstance(text, str) for pair in headers.items() for text in pair):
        raise ConfigurationError(f"headers of a job must be texts by name, not {dict(headers)!r}")
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADERS_BYTES:
        raise ConfigurationError(f"headers of a job: more than {MAX_HEADERS_BYTES} characters; put them into its data")
    kept = decode_mapping(options, "the options of a job") if options else {}
    return json.dumps({**kept, HEADERS: dict(headers)}, separators=(",", ":"))
