"""This host's own certificate for handing disks over: self-signed, made at first use, known by its fingerprint."""

import datetime
import hashlib
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAYS = 3650


class Certificate:
    """Key and certificate in one file (0600) that only nova-compute reads."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        try:
            found = x509.load_pem_x509_certificate(path.read_bytes())
            fresh = found.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)
        except (FileNotFoundError, ValueError):
            fresh = False
        if not fresh:
            found = _make(path, name)
        self.fingerprint = hashlib.sha256(found.public_bytes(serialization.Encoding.DER)).hexdigest()

    def server_context(self) -> ssl.SSLContext:
        """TLS 1.3 with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(str(self._path))
        return context


def _make(path: Path, name: str) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(private + made.public_bytes(serialization.Encoding.PEM))
    fresh.rename(path)
    return made
