"""An authority of a test's own, and a certificate for 127.0.0.1 by it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.programs_needed import need_module


@dataclass(frozen=True)
class Certificates:
    """Files: the authority's certificate, another authority's, and the server's certificate and key."""

    ca: Path
    stranger: Path
    cert: Path
    key: Path

    @property
    def server(self) -> dict[str, str]:
        return {"cert": str(self.cert), "key": str(self.key)}

    @property
    def client(self) -> dict[str, str]:
        return {"ca": str(self.ca)}


def make(directory: Path) -> Certificates:
    need_module("cryptography")
    from cryptography.hazmat.primitives import serialization

    authority, authority_key = _certificate("authority", None)
    stranger, _ = _certificate("stranger", None)
    server, server_key = _certificate("localhost", (authority, authority_key))
    made = Certificates(*(directory / name for name in ("ca.pem", "stranger.pem", "server.pem", "server.key")))
    for path, certificate in ((made.ca, authority), (made.stranger, stranger), (made.cert, server)):
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    made.key.chmod(0o600)
    return made


def _certificate(name: str, by: tuple[Any, Any] | None) -> tuple[Any, Any]:
    """One of itself, or by an authority (certificate, key)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by[0].subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    signer = by[1] if by else key
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    if by is not None:
        addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
    else:
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(signer, hashes.SHA256()), key
