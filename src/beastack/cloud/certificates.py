"""Certificates for the consoles' way between nova-novncproxy and the hosts (VeNCrypt): an authority of the cloud's own.

Files in data/certificates, made once: ca.pem; proxy.pem, proxy.key (may only be a client); HOST.pem, HOST.key (may only
be a server). The authority's key is kept beside them for hosts that come later.
"""

import datetime
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from beastack.cloud.layout import Layout

_DAYS = 3650
PROXY = "proxy"


def folder(layout: Layout) -> Path:
    """Where they are."""
    return layout.data("certificates")


def ensure(layout: Layout, hosts: list[str]) -> None:
    """Make what is missing."""
    where = folder(layout)
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (where / "ca.pem").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        _write(where / "ca.key", _pem(key))
        _write(where / "ca.pem", _certificate(f"beastack {layout.name} consoles", key, None))
    uses = {PROXY: ExtendedKeyUsageOID.CLIENT_AUTH} | dict.fromkeys(hosts, ExtendedKeyUsageOID.SERVER_AUTH)
    for name, use in uses.items():
        if (where / f"{name}.pem").exists():
            continue
        authority = x509.load_pem_x509_certificate((where / "ca.pem").read_bytes())
        signer = serialization.load_pem_private_key((where / "ca.key").read_bytes(), None)
        if not isinstance(signer, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{where / 'ca.key'}: not the key that was made")
        key = ec.generate_private_key(ec.SECP256R1())
        _write(where / f"{name}.key", _pem(key))
        _write(where / f"{name}.pem", _certificate(name, key, (authority, signer, use)))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    by: tuple[x509.Certificate, ec.EllipticCurvePrivateKey, x509.ObjectIdentifier] | None,
) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by[0].subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=0 if by is None else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if by is None:
        usage = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        builder = builder.add_extension(
            x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False),
            critical=True,
        )
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    signer = by[1]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(issuer, critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([by[2]]), critical=True)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes) -> None:
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    new.replace(path)
