"""``beastack.neutron.replicator``: carries broadcast, multicast and unknown frames of VXLAN networks to every peer.

vxlan(4) floods to one destination only (shared/freebsd/15.1/07). The agent makes that destination the host's own
address with another port, where this process receives: it looks at the VNI and sends the datagram, unchanged, to the
VXLAN port of each host that has the network. Frames to known stations never come here: they stay in the kernel.

    python -m beastack.neutron.replicator FOLDER

FOLDER/table.json says what goes where (``Table``). It is replaced in one step by the agent and read again after SIGHUP,
and when its file changed; a table that cannot be read leaves the last good one in force. FOLDER/lock is held while the
process lives and has its pid. It needs no rights beyond the two ports, outlives the agent, and imports nothing but the
standard library. Every network has a budget of datagrams, so that one tenant's broadcasts do not starve the others'.
"""

import fcntl
import ipaddress
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

TABLE, LOCK = "table.json", "lock"
VXLAN_PORT = 4789
# RFC 7348, section 5: flags with the I bit, reserved, VNI, reserved.
HEADER_BYTES, FLAGS = 8, b"\x08\x00\x00\x00"
MOST_BYTES = 65535
# Datagrams read before other things get their turn.
BATCH = 256
# Seconds between two looks at the table's file; SIGHUP makes it at once.
LOOK = 2.0
# Seconds between two lines about what was dropped.
REPORT = 60.0
# Datagrams a second, and at once, of one network.
RATE, BURST = 5000.0, 10000.0
# Exit status: another replicator holds the lock; the arguments are wrong.
HELD, USAGE = 3, 64


class BadTable(ValueError):
    """The table cannot be used; the text says why."""


@dataclass(frozen=True)
class Table:
    """Where to listen, and which hosts have each network. Addresses are of one family, in canonical form."""

    address: str
    port: int
    peer_port: int = VXLAN_PORT
    peers: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def dump(self) -> str:
        """As JSON."""
        peers = {str(vni): list(hosts) for vni, hosts in sorted(self.peers.items())}
        return json.dumps(
            {"address": self.address, "port": self.port, "peer_port": self.peer_port, "peers": peers}, indent=1
        )


def _address(value: object, version: int | None = None) -> str:
    try:
        found = ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError as e:
        raise BadTable(f"address {value!r}: {e}") from None
    if found.is_multicast or found.is_unspecified or str(found) != value or version not in (None, found.version):
        raise BadTable(f"address {value!r} is no host's, or of another family than the others")
    return str(found)


def _number(value: object, low: int, high: int, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadTable(f"{what} {value!r} is not between {low} and {high}")
    return value


def load(text: str) -> Table:
    """Read a table whole or not at all. Raises BadTable."""
    try:
        raw = json.loads(text)
    except ValueError as e:
        raise BadTable(str(e)) from None
    if not isinstance(raw, dict) or set(raw) != {"address", "port", "peer_port", "peers"}:
        raise BadTable("address, port, peer_port and peers are wanted")
    if not isinstance(raw["peers"], dict):
        raise BadTable("peers: VNI -> addresses is wanted")
    address = _address(raw["address"])
    version = ipaddress.ip_address(address).version
    peers: dict[int, tuple[str, ...]] = {}
    for vni, hosts in raw["peers"].items():
        if not (isinstance(vni, str) and vni.isascii() and vni.isdecimal()) or not isinstance(hosts, list):
            raise BadTable(f"peers: {vni!r}")
        found = tuple(dict.fromkeys(_address(host, version) for host in hosts))
        # its own datagrams would come back to the tunnel they left
        peers[_number(int(vni), 0, 2**24 - 1, "VNI")] = tuple(host for host in found if host != address)
    port, peer_port = (_number(raw[name], 1, 65534, name) for name in ("port", "peer_port"))
    if port == peer_port:
        raise BadTable(f"port {port} is the tunnels' own")
    return Table(address, port, peer_port, peers)


def vni_of(datagram: bytes) -> int | None:
    """The network of a VXLAN datagram with a whole Ethernet header; None for what the kernel would drop as well."""
    if len(datagram) < HEADER_BYTES + 14 or datagram[:4] != FLAGS or datagram[7]:
        return None
    return int.from_bytes(datagram[4:7], "big")


class Budget:
    """A bucket of tokens for each network."""

    def __init__(self, rate: float = RATE, burst: float = BURST, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left: dict[int, tuple[float, float]] = {}

    def take(self, vni: int) -> bool:
        """Whether this network may send one more now."""
        now = self._clock()
        tokens, at = self._left.get(vni, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        self._left[vni] = (tokens - 1 if tokens >= 1 else tokens, now)
        return tokens >= 1

    def keep(self, vnis: set[int]) -> None:
        """Forget the networks that are gone."""
        self._left = {vni: left for vni, left in self._left.items() if vni in vnis}


def _say(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} replicator[{os.getpid()}]: {text}", file=sys.stderr, flush=True)


class Replicator:
    """One host's process. ``dropped`` counts datagrams by reason."""

    def __init__(self, folder: Path, budget: Budget | None = None) -> None:
        self._path = folder / TABLE
        self._seen: tuple[int, int, int] | None = None
        self._trouble = ""
        self._budget = budget or Budget()
        self.table: Table | None = None
        self.socket: socket.socket | None = None
        self.dropped = dict.fromkeys(("foreign", "malformed", "unknown network", "over budget", "not sent"), 0)

    def look(self) -> bool:
        """Read the table when its file is another one; True when a new one is in force."""
        try:
            stat = self._path.stat()
            now = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if now == self._seen and self.socket is not None:
                return False
            fresh = load(self._path.read_text(encoding="utf-8"))
            self._listen(fresh)
        except (OSError, BadTable) as e:
            if str(e) != self._trouble:
                _say(f"{self._path}: {e}; what was in force stays")
            self._trouble = str(e)
            return False
        self._seen, self._trouble = now, ""
        self.table = fresh
        self._budget.keep(set(fresh.peers))
        return True

    def _listen(self, fresh: Table) -> None:
        old = self.table
        if self.socket is not None and old is not None and (old.address, old.port) == (fresh.address, fresh.port):
            return
        family = socket.AF_INET6 if ":" in fresh.address else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            made.bind((fresh.address, fresh.port))
        except OSError:
            made.close()
            raise
        if self.socket is not None:
            self.socket.close()
        self.socket = made
        _say(f"listens on {fresh.address} port {fresh.port}")

    def serve(self) -> None:
        """Carry what waits on the socket, at most BATCH datagrams."""
        door, table = self.socket, self.table
        if door is None or table is None:
            return
        for _ in range(BATCH):
            try:
                datagram, sender = door.recvfrom(MOST_BYTES)
            except BlockingIOError:
                return
            self._carry(door, table, datagram, sender[0])

    def _carry(self, door: socket.socket, table: Table, datagram: bytes, sender: str) -> None:
        if sender != table.address:
            # only this host's own tunnels: else any neighbour could use it to reach every peer
            self.dropped["foreign"] += 1
            return
        vni = vni_of(datagram)
        if vni is None:
            self.dropped["malformed"] += 1
            return
        peers = table.peers.get(vni)
        if peers is None:
            self.dropped["unknown network"] += 1
            return
        if not self._budget.take(vni):
            self.dropped["over budget"] += 1
            return
        for peer in peers:
            try:
                door.sendto(datagram, (peer, table.peer_port))
            except OSError:  # a full queue, no route: a wire loses frames, and the count says so
                self.dropped["not sent"] += 1


def hold(folder: Path) -> int | None:
    """Take the lock and note the pid in it; None when another process holds it."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def run(folder: Path) -> int:
    """Serve until SIGTERM; the exit status."""
    # from here on a signal is a byte in the pipe: none is lost between two waits
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for name in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)
    lock = hold(folder)
    if lock is None:
        _say(f"{folder}: another replicator serves")
        return HELD
    replicator = Replicator(folder)
    replicator.look()
    looked = told = time.monotonic()
    reported = dict(replicator.dropped)
    while True:
        with selectors.DefaultSelector() as ready:
            ready.register(reader, selectors.EVENT_READ)
            if replicator.socket is not None:
                ready.register(replicator.socket, selectors.EVENT_READ)
            door = replicator.socket
            while replicator.socket is door:
                signals = b""
                for key, _ in ready.select(max(0.0, looked + LOOK - time.monotonic())):
                    if key.fd == reader:
                        signals = os.read(reader, 4096)
                    else:
                        replicator.serve()
                if signal.SIGTERM in signals or signal.SIGINT in signals:
                    _say(f"ends; dropped: {replicator.dropped}")
                    return 0
                if signals or time.monotonic() >= looked + LOOK:
                    looked = time.monotonic()
                    replicator.look()
                    if replicator.dropped != reported and looked >= told + REPORT:
                        reported, told = dict(replicator.dropped), looked
                        _say(f"dropped so far: {reported}")


def main() -> int:
    """The program."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print("usage: python -m beastack.neutron.replicator folder", file=sys.stderr)
        return USAGE
    return run(Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
