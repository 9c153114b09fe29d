"""Handing a stopped guest's disks to another host: a stream over TLS between two nova-computes.

Who may ask is settled by the message bus, over which nova itself sends what the source answered: where it listens, the
fingerprint of its certificate, and a secret for this one guest. The destination knows the source by the certificate,
the source knows the destination by the secret (of which its own folder keeps a hash only). See docs/decisions.

    > {"uuid", "secret"}                         a line of JSON
    < {"disks": {NAME: BYTES}, "files": {NAME: BYTES}}
    < for each, in this order: frames of (offset u64, length u32) and data, closed by a frame of length 0
    > "done"

What stands between frames are zeros: holes cost nothing. An offer stands in the guest's folder, so it outlives
nova-compute; it is withdrawn when the migration is confirmed or taken back.
"""

import contextlib
import hashlib
import hmac
import json
import secrets
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from oslo_log import log as logging

from beastack.nova.certificate import Certificate
from beastack.nova.stores.base import CHUNK, DISK, DiskStore, is_zero
from beastack.privsep.guest_files import GuestFileError, read_regular, write_whole

LOG = logging.getLogger(__name__)
OFFER = "offer.json"
# Small files of the guest's folder that go with the disks.
FILES = ("uefi-vars.fd", "config.iso")
_MOST_FILE = 256 << 20
_FRAME = struct.Struct(">QI")
_MOST_LINE = 64 * 1024
_SILENCE = 120.0  # seconds without a byte
_STRANGER = 10.0  # the same before the secret was shown
_CLIENTS = 8


class HandoverError(Exception):
    """The disks did not come over; the text says why."""


def offer(folder: Path) -> str:
    """Let whoever knows the returned secret fetch this guest's disks."""
    secret = secrets.token_hex(32)
    words = {"secret_sha256": hashlib.sha256(secret.encode()).hexdigest()}
    write_whole(folder / OFFER, json.dumps(words).encode(), 0o600)
    return secret


def withdraw(folder: Path) -> None:
    """No more; none is fine."""
    (folder / OFFER).unlink(missing_ok=True)


def _matches(folder: Path, secret: str) -> bool:
    try:
        kept = json.loads(read_regular(folder / OFFER, _MOST_LINE))["secret_sha256"]
    except (OSError, ValueError, KeyError, GuestFileError):
        return False
    return hmac.compare_digest(str(kept), hashlib.sha256(secret.encode()).hexdigest())


class DiskServer:
    """The source: one listener for all offers of this host, open only while there are some."""

    def __init__(self, instances: Path, store: DiskStore, address: str, port: int, certificate: Certificate) -> None:
        self._instances, self._store = instances, store
        self._address, self._port, self._certificate = address, port, certificate
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._slots = threading.BoundedSemaphore(_CLIENTS)

    def ensure_open(self) -> tuple[str, int, str]:
        """Listen; address, port and the certificate's fingerprint."""
        with self._lock:
            if self._listener is None:
                family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
                listener = socket.create_server((self._address, self._port), family=family, backlog=_CLIENTS)
                self._port = int(listener.getsockname()[1])
                self._listener = listener
                threading.Thread(target=self._serve, args=(listener,), name="beastack-handover", daemon=True).start()
        return self._address, self._port, self._certificate.fingerprint

    def close_if_idle(self) -> None:
        """Stop listening when nothing is offered any more."""
        with self._lock:
            if self._listener is not None and not any(self._instances.glob(f"*/{OFFER}")):
                with contextlib.suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
                self._listener.close()
                self._listener = None

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, peer = listener.accept()
            except OSError:
                return  # closed
            if not self._slots.acquire(blocking=False):
                client.close()
                continue
            threading.Thread(target=self._talk, args=(client, peer), name="beastack-handover-to", daemon=True).start()

    def _talk(self, client: socket.socket, peer: Any) -> None:
        try:
            client.settimeout(_STRANGER)
            with self._certificate.server_context().wrap_socket(client, server_side=True) as secure:
                self._answer(secure)
        except (OSError, ValueError, KeyError, HandoverError) as error:
            LOG.warning("Handing over to %s failed: %s", peer[0], error)
        except Exception:
            LOG.exception("Handing over to %s failed", peer[0])
        finally:
            client.close()
            self._slots.release()

    def _answer(self, client: ssl.SSLSocket) -> None:
        with client.makefile("rb") as lines:
            request = json.loads(lines.readline(_MOST_LINE))
            uuid, secret = str(request["uuid"]), str(request["secret"])
            folder = self._instances / uuid
            if len(uuid) != 36 or "/" in uuid or not _matches(folder, secret):
                raise HandoverError("it does not know the secret of an offer")
            client.settimeout(_SILENCE)
            found = self._store.disks(uuid)
            files = {name: (folder / name).stat().st_size for name in FILES if (folder / name).is_file()}
            client.sendall(json.dumps({"disks": found, "files": files}).encode() + b"\n")
            for disk in found:
                with self._store.reading(uuid, disk) as (size, read):
                    _send(client.sendall, size, read)
            for name in files:
                data = read_regular(folder / name, _MOST_FILE)
                _send(client.sendall, len(data), lambda offset, length, data=data: data[offset : offset + length])  # type: ignore[misc]
            if lines.readline(16) != b"done\n":
                raise HandoverError(f"{uuid}: the other host did not take everything")
            LOG.info("The disks of %s were handed over: %s", uuid, ", ".join(sorted(found)))


def _send(out: Callable[[bytes], Any], size: int, read: Callable[[int, int], bytes]) -> None:
    for place in range(0, size, CHUNK):
        data = read(place, min(CHUNK, size - place))
        if not is_zero(data):
            out(_FRAME.pack(place, len(data)))
            out(data)
    out(_FRAME.pack(size, 0))


def fetch(told: dict[str, Any], folder: Path, store: DiskStore) -> None:
    """The destination: take disks and files into this host's store and the guest's folder. Raises HandoverError."""
    try:
        _fetch(told, folder, store)
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise HandoverError(f"{told.get('address')}: {error}") from error


def _fetch(told: dict[str, Any], folder: Path, store: DiskStore) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the one certificate is known by its fingerprint
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    place = (str(told["address"]), int(told["port"]))
    with (
        socket.create_connection(place, timeout=_SILENCE) as plain,
        context.wrap_socket(plain) as client,
        client.makefile("rb") as lines,
    ):
        shown = hashlib.sha256(client.getpeercert(binary_form=True) or b"").hexdigest()
        if not hmac.compare_digest(shown, str(told["fingerprint"])):
            raise HandoverError("another host answers than the one that offered the disks")
        client.sendall(json.dumps({"uuid": folder.name, "secret": str(told["secret"])}).encode() + b"\n")
        line = lines.readline(_MOST_LINE)
        if not line:
            raise HandoverError("the offer was refused or withdrawn")
        listed = json.loads(line)
        for name, size in listed["disks"].items():
            if DISK.fullmatch(name) is None:
                raise HandoverError(f"{name!r} is no name of a disk")
            store.create(folder.name, name, int(size))
            _receive(lines, int(size), lambda offset, data, name=name: store.write(folder.name, name, offset, data))  # type: ignore[misc]
        for name, size in listed["files"].items():
            if name not in FILES or int(size) > _MOST_FILE:
                raise HandoverError(f"{name!r} is no file that goes over")
            whole = bytearray(int(size))
            _receive(lines, int(size), lambda offset, data, whole=whole: _put(whole, offset, data))  # type: ignore[misc]
            write_whole(folder / name, bytes(whole), 0o600)
        client.sendall(b"done\n")


def _put(whole: bytearray, offset: int, data: bytes) -> None:
    whole[offset : offset + len(data)] = data


def _receive(lines: IO[bytes], size: int, write: Callable[[int, bytes], Any]) -> None:
    while True:
        offset, length = _FRAME.unpack(_exactly(lines, _FRAME.size))
        if length == 0:
            if offset != size:
                raise HandoverError(f"{offset} bytes instead of {size}")
            return
        if length > CHUNK or offset + length > size:
            raise HandoverError(f"{length} bytes at {offset} do not fit in {size}")
        write(offset, _exactly(lines, length))


def _exactly(lines: IO[bytes], count: int) -> bytes:
    data = lines.read(count)
    if len(data) != count:
        raise HandoverError("the stream was cut off")
    return data
