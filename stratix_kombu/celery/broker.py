"""The broker and its security as Celery's own settings name them, as settings of ours."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from stratix_kombu.celery.file_broker import PREFIX, SCHEMES
from stratix_kombu.config.redis_options import SOCKETS

DRIVERS = {
    "redis": "redis",
    "rediss": "redis",
    "sentinel": "redis",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "pyamqp": "rabbitmq",
}
_TLS = {"ca_certs": "ca", "certfile": "cert", "keyfile": "key", "server_hostname": "server_name"}


def broker_settings(conf: Any, urls: str) -> dict[str, Any]:
    """``driver``, and its options where a URL cannot say all: TLS with certificates of one's own, Sentinel."""
    first, in_url = without_query(urls.split(";")[0])
    scheme = first.partition("://")[0]
    if scheme in SCHEMES:
        return {"driver": first, "store": first.removeprefix(PREFIX)}
    tls = tls_options(conf.broker_use_ssl or in_url or None)
    if scheme not in DRIVERS or not (tls or scheme == "sentinel"):
        return {"driver": first}
    options: dict[str, Any] = {"url": urls if scheme == "sentinel" else first}
    if tls:
        options["ssl"] = tls
    if scheme == "sentinel":
        transport_options = conf.broker_transport_options or {}
        options["name"] = transport_options.get("master_name")
        options["sentinel_password"] = (transport_options.get("sentinel_kwargs") or {}).get("password")
    return {"driver": DRIVERS[scheme], DRIVERS[scheme]: options}


def store_settings(conf: Any, results: str) -> Any:
    """The result backend's Redis as the store."""
    results, in_url = without_query(results)
    tls = tls_options(conf.redis_backend_use_ssl or in_url or None)
    return {"url": results, "ssl": tls} if tls else results


def without_query(url: str) -> tuple[str, dict[str, str]]:
    """A Redis URL as Celery and Kombu take it, without its query; and what that says of TLS (``ssl_cert_reqs`` and its
    like). The rest of it is about connections of Kombu."""
    scheme = url.partition("://")[0]
    if scheme not in ("redis", "rediss", *SOCKETS) or "?" not in url or ";" in url:
        return url, {}
    url, _, query = url.partition("?")
    given = dict(parse_qsl(query))
    if scheme in SOCKETS:
        return f"{url}?db={(given.get('virtual_host') or given.get('db') or '0').strip('/') or 0}", {}
    if given.get("virtual_host") and not urlsplit(url).path.strip("/"):
        url = f"{url.rstrip('/')}/{given['virtual_host'].strip('/')}"
    if given.get("db"):  # of results, which are in the database of the query whatever the path says
        url = urlsplit(url)._replace(path=f"/{given['db']}").geturl()
    return url, {key: value for key, value in given.items() if key.startswith("ssl_")}


def tls_options(given: Any) -> Any:
    """``broker_use_ssl`` and ``redis_backend_use_ssl``, whose names Redis prefixes; falsy = not configured."""
    if not isinstance(given, Mapping):
        return bool(given)
    plain = {str(key).removeprefix("ssl_"): value for key, value in given.items()}
    options = {ours: plain[theirs] for theirs, ours in _TLS.items() if plain.get(theirs) is not None}
    return {**options, "verify": plain.get("cert_reqs") not in (ssl.CERT_NONE, "none", "CERT_NONE", "None")}
