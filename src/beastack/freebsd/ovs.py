"""Open vSwitch with the userspace datapath: its bridges, ports, flows and states, by its own programs.

ovs-vsctl(8), ovs-ofctl(8) and ovs-appctl(8) find the daemons by the paths that they were built with (the port
net/openvswitch: /var/run/openvswitch). Every bridge is ``datapath_type=netdev``: FreeBSD has no kernel datapath.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from beastack.freebsd.errors import CommandFailed, HostError, UnexpectedOutput
from beastack.freebsd.host import Host

INTEGRATION = "br-int"
# neutron's mark of a port that is not wired: nobody's VLAN, dropped in br-int (neutron/agent/common/ovs_lib.py).
DEAD_VLAN = 4095
# Seconds that the programs themselves wait for a daemon; the host's own limit comes later.
WAIT = 10
_TIMEOUT = f"--timeout={WAIT}"
_STATE = re.compile(
    r"(?P<protocol>[a-z0-9]+),orig=\((?P<original>[^()]*)\),reply=\((?P<reply>[^()]*)\)(?P<rest>(?:,[a-z_]+=.*)?)"
)
_MARK = re.compile(r",mark=(0x[0-9a-f]+|\d+)(?:,|$)")
_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}


class PortRefused(HostError):
    """Open vSwitch has the port in its database and cannot open the interface; the text is its own."""

    def __init__(self, interface: str, words: str) -> None:
        super().__init__(interface, words)
        self.interface, self.words = interface, words

    def __str__(self) -> str:
        return f"{self.interface}: Open vSwitch cannot open it: {self.words or 'no reason given'}"


@dataclass(frozen=True)
class Port:
    """An interface in Open vSwitch's database: its bridge, its number there (None or -1: none) and whose it is."""

    bridge: str
    number: int | None
    error: str
    ids: Mapping[str, str]


@dataclass(frozen=True)
class State:
    """One connection that the datapath tracks: protocol, and the fields of both directions by name."""

    protocol: str
    original: Mapping[str, str]
    reply: Mapping[str, str]
    mark: int

    @property
    def addresses(self) -> frozenset[str]:
        """Both ends, as either direction names them."""
        return frozenset(way[end] for way in (self.original, self.reply) for end in ("src", "dst") if end in way)


def datapath_id(bridge: str) -> str:
    """A bridge's name for its controller, by its own name: otherwise it is that of the port with the least MAC, and an
    agent that has just added a port looks for a switch that is gone.
    """
    return hashlib.sha256(bridge.encode()).hexdigest()[:16]


def ensure_bridge(host: Host, name: str) -> None:
    """A bridge of the userspace datapath that forwards nothing until it is told to."""
    add = ["ovs-vsctl", _TIMEOUT, "--may-exist", "add-br", name]
    settings = ("datapath_type=netdev", "fail_mode=secure", f"other_config:datapath-id={datapath_id(name)}")
    host.run([*add, "--", "set", "Bridge", name, *settings])


def list_ports(host: Host, bridge: str) -> list[str]:
    """Names of the bridge's ports, but for its own."""
    return host.run(["ovs-vsctl", _TIMEOUT, "list-ports", bridge]).out.split()


def find_port(host: Host, interface: str) -> Port | None:
    """The interface's port, None when no bridge has it. Raises CommandFailed, UnexpectedOutput."""
    argv = ["ovs-vsctl", _TIMEOUT, "iface-to-br", interface]
    done = host.run(argv, check=False)
    if done.rc:
        if "no interface named" in done.err:
            return None
        raise CommandFailed(argv, done.rc, done.out, done.err)
    bridge = done.out.strip()
    columns = "--columns=ofport,error,external_ids"
    row = host.run(["ovs-vsctl", _TIMEOUT, "--format=json", "--if-exists", columns, "list", "Interface", interface])
    try:
        found = json.loads(row.out)
        if not found["data"]:
            return None
        cells = dict(zip(found["headings"], found["data"][0], strict=True))
        number = cells["ofport"] if isinstance(cells["ofport"], int) else None
        error = cells["error"] if isinstance(cells["error"], str) else ""
        return Port(bridge, number, error, dict(cells["external_ids"][1]))
    except (ValueError, KeyError, TypeError, IndexError) as e:
        raise UnexpectedOutput(row.argv, row.out, "a row of the table Interface") from e


def plug(host: Host, bridge: str, interface: str, ids: Mapping[str, str], dead: bool = True) -> None:
    """Make the interface, which the host must have, a port of the bridge; raises PortRefused.

    ``dead``: it carries nothing until somebody wires it. A port that is there stays as it is wired.
    """
    argv = ["ovs-vsctl", _TIMEOUT, "--may-exist", "add-port", bridge, interface]
    if dead and find_port(host, interface) is None:
        argv += ["--", "set", "Port", interface, f"tag={DEAD_VLAN}", "vlan_mode=trunk", f"trunks={DEAD_VLAN}"]
    if ids:
        argv += ["--", "set", "Interface", interface, *(f'external_ids:{key}="{ids[key]}"' for key in sorted(ids))]
    host.run(argv)
    found = find_port(host, interface)
    if found is None or found.bridge != bridge or found.number is None or found.number < 1:
        words = f"it is in {found.bridge}" if found and found.bridge != bridge else found.error if found else ""
        raise PortRefused(interface, words)


def unplug(host: Host, bridge: str, interface: str) -> None:
    """Take the interface out of the bridge; gone is fine."""
    host.run(["ovs-vsctl", _TIMEOUT, "--if-exists", "del-port", bridge, interface])


def change_flows(host: Host, bridge: str, action: str, flows: Sequence[str]) -> None:
    """``add``, ``mod`` or ``del`` flows, one a line: all of them or none (a bundle, OpenFlow 1.4)."""
    argv = ["ovs-ofctl", _TIMEOUT, "-O", "OpenFlow14", "--bundle", f"{action}-flows", bridge, "-"]
    host.run(argv, input="".join(f"{flow}\n" for flow in flows))


def _fields(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(","))


def read_states(text: str) -> list[State]:
    """What `dpctl/dump-conntrack` prints. Raises ValueError with the line that is not understood."""
    found = []
    for line in text.splitlines():
        match = _STATE.fullmatch(line.strip())
        if match is None:
            raise ValueError(line)
        mark = _MARK.search(match["rest"])
        try:
            fields = _fields(match["original"]), _fields(match["reply"])
        except ValueError:
            raise ValueError(line) from None
        found.append(State(match["protocol"], *fields, int(mark[1], 0) if mark else 0))
    return found


def list_states(host: Host, zone: int) -> list[State]:
    """The connections of one zone. Raises UnexpectedOutput."""
    done = host.run(["ovs-appctl", _TIMEOUT, "dpctl/dump-conntrack", f"zone={zone}"])
    try:
        return read_states(done.out)
    except ValueError as e:
        raise UnexpectedOutput(done.argv, str(e), "a connection") from e


def tuple_of(state: State) -> str | None:
    """A state's own direction as `dpctl/flush-conntrack` takes it; None for a protocol that it cannot name."""
    number = _NUMBERS.get(state.protocol)
    ends = state.original
    if number is None or not {"src", "dst"} <= set(ends):
        return None
    family = "ipv6" if ":" in ends["src"] else "nw"
    parts = [f"ct_{family}_src={ends['src']}", f"ct_{family}_dst={ends['dst']}", f"ct_nw_proto={number}"]
    names = (("icmp_id", "id"), ("icmp_type", "type"), ("icmp_code", "code"))
    if number not in (1, 58):
        names = (("ct_tp_src", "sport"), ("ct_tp_dst", "dport"), ("", ""))
    parts += [f"{name}={ends[field]}" for name, field in names if field in ends]
    return ",".join(parts)


def end_state(host: Host, zone: int, state: State) -> bool:
    """End one connection; False when Open vSwitch has no words for it. Gone is fine. Raises CommandFailed."""
    words = tuple_of(state)
    if words is None:
        return False
    argv = ["ovs-appctl", _TIMEOUT, "dpctl/flush-conntrack", f"zone={zone}", words]
    done = host.run(argv, check=False)
    if done.rc and "No such file or directory" not in done.err:
        raise CommandFailed(argv, done.rc, done.out, done.err)
    return True
