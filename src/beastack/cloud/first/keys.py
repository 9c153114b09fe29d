"""The key pair with which a person enters the first guest."""

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from beastack.cloud.errors import CloudError


def public_key(private: Path, comment: str) -> str:
    """The public half, one line of OpenSSH's form; the private half is made once, mode 0600.

    Raises CloudError when the file that is there holds no key of this kind.
    """
    if private.exists():
        try:
            key = serialization.load_ssh_private_key(private.read_bytes(), password=None)
        except ValueError as e:
            raise CloudError(f"{private} holds no private key: {e}", remedy="move it away; up makes a new one") from e
    else:
        key = Ed25519PrivateKey.generate()
        data = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        new = private.with_name(private.name + ".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        new.replace(private)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    line = f"{public.decode()} {comment}"
    private.with_name(private.name + ".pub").write_text(line + "\n")
    return line
