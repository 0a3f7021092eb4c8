"""A certificate authority of the tests' own, and what it has issued."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files: the authority, the server's for 127.0.0.1, a client's, and an authority nobody issued by."""

    ca: str
    cert: str
    key: str
    client_cert: str
    client_key: str
    stranger: str


def make_certificates(folder: Path) -> Certificates:
    """Write them into the folder."""
    authority, stranger = trustme.CA(), trustme.CA()
    paths = {name: str(folder / f"{name}.pem") for name in Certificates.__annotations__}
    authority.cert_pem.write_to_path(paths["ca"])
    stranger.cert_pem.write_to_path(paths["stranger"])
    for prefix, issued in (("", authority.issue_cert("127.0.0.1")), ("client_", authority.issue_cert("a.client"))):
        issued.cert_chain_pems[0].write_to_path(paths[f"{prefix}cert"])
        issued.private_key_pem.write_to_path(paths[f"{prefix}key"])
    return Certificates(**paths)
