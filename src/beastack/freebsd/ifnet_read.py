"""Reading interfaces: the output of ifconfig(8) as dataclasses.

Tested against what FreeBSD 15.1 printed (shared/freebsd/15.1, 01 to 03). A line that is not known is kept out of the
way only where it is indented below an interface whose head was understood; a head that is not understood raises
UnexpectedOutput, because an interface that cannot be read is unknown, not absent.
"""

import re
from dataclasses import dataclass, field

from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_lines import Tunnel, Vlan, Vxlan, read_tunnel, read_vlan, read_vlan_set, read_vxlan

_HEAD = re.compile(r"(?P<name>\S+): flags=[0-9a-f]+<(?P<flags>[^>]*)> metric \d+ mtu (?P<mtu>\d+)")
_MEMBER = re.compile(r"\tmember: (?P<name>\S+) flags=[0-9a-f]+<(?P<flags>[^>]*)>")
_MEMBER_LIMIT = re.compile(r"\bifmaxaddr (\d+)")
_MEMBER_UNTAGGED = re.compile(r"\buntagged (\d+)")
_MEMBER_TAGGED = re.compile(r"(?<!un)tagged (\S+)")
_BRIDGE_FLAGS = re.compile(r"\tbridge flags=[0-9a-f]+<(?P<flags>[^>]*)>")
_OPENED = re.compile(r"\tOpened by PID (\d+)")


@dataclass
class Member:
    """An interface's place in a bridge: its flags (LEARNING, PRIVATE, …), address limit (0: none) and VLANs.

    ``untagged`` is the VLAN of its untagged frames, ``tagged`` those that it carries with a tag; both count only while
    the bridge filters VLANs (15.0 and later).
    """

    name: str
    flags: frozenset[str]
    max_addresses: int = 0
    untagged: int | None = None
    tagged: frozenset[int] = frozenset()


@dataclass
class Interface:
    """One interface as ifconfig shows it; addresses as ``address/prefix length``.

    ``bridge_flags`` is None where a release shows none (before 15.0), and on what is no bridge.
    """

    name: str
    flags: frozenset[str]
    mtu: int
    mac: str | None = None
    description: str | None = None
    inet: list[str] = field(default_factory=list)
    inet6: list[str] = field(default_factory=list)
    groups: frozenset[str] = frozenset()
    members: dict[str, Member] = field(default_factory=dict)
    status: str | None = None
    opened_by: int | None = None
    bridge_flags: frozenset[str] | None = None
    vlan: Vlan | None = None
    vxlan: Vxlan | None = None
    tunnel: Tunnel | None = None

    @property
    def is_up(self) -> bool:
        """Whether it is administratively up."""
        return "UP" in self.flags


def _flags(text: str) -> frozenset[str]:
    return frozenset(f for f in text.split(",") if f)


def parse_interfaces(text: str, argv: tuple[str, ...] = ("ifconfig",)) -> dict[str, Interface]:
    """Every interface of an ``ifconfig`` output, by name. Raises UnexpectedOutput."""
    found: dict[str, Interface] = {}
    current: Interface | None = None
    member: Member | None = None
    for line in text.splitlines():
        if not line.startswith(("\t", " ")):
            head = _HEAD.match(line)
            if head is None:
                raise UnexpectedOutput(argv, line, "an interface's first line (NAME: flags=…)")
            current = Interface(head["name"], _flags(head["flags"]), int(head["mtu"]))
            found[current.name] = current
            member = None
            continue
        if current is None:
            raise UnexpectedOutput(argv, line, "an interface's first line (NAME: flags=…)")
        entry = _MEMBER.match(line)
        if entry:
            member = Member(entry["name"], _flags(entry["flags"]))
            current.members[member.name] = member
        elif member and line.startswith("\t "):
            _member_detail(member, line, argv)
        else:
            _detail(current, line, argv)
    return found


def _member_detail(member: Member, line: str, argv: tuple[str, ...]) -> None:
    """The indented lines below a member; with STP there are several."""
    try:
        if limit := _MEMBER_LIMIT.search(line):
            member.max_addresses = int(limit[1])
        if untagged := _MEMBER_UNTAGGED.search(line):
            (member.untagged,) = read_vlan_set(untagged[1])
        if tagged := _MEMBER_TAGGED.search(line):
            member.tagged = read_vlan_set(tagged[1])
    except ValueError as e:
        raise UnexpectedOutput(argv, line, f"a bridge member's limits and VLANs ({e})") from e


def _detail(interface: Interface, line: str, argv: tuple[str, ...]) -> None:
    word, _, rest = line.strip().partition(" ")
    try:
        match word:
            case "ether":
                interface.mac = rest.split()[0]
            case "description:":
                interface.description = rest
            case "groups:":
                interface.groups = frozenset(rest.split())
            case "status:":
                interface.status = rest
            case "inet":
                interface.inet.append(_inet(rest.split()))
            case "inet6":
                interface.inet6.append(_inet6(rest.split()))
            case "Opened":
                opened = _OPENED.match(line)
                interface.opened_by = int(opened[1]) if opened else None
            case "bridge":
                shown = _BRIDGE_FLAGS.match(line)
                interface.bridge_flags = _flags(shown["flags"]) if shown else None
            case "vlan:":
                interface.vlan = read_vlan(line)
            case "vxlan":
                interface.vxlan = read_vxlan(line)
            case "tunnel":
                interface.tunnel = read_tunnel(line)
    except (IndexError, ValueError) as e:
        raise UnexpectedOutput(argv, line, f"an interface's {word} line") from e


def _inet(words: list[str]) -> str:
    mask = int(words[words.index("netmask") + 1], 16)
    length = mask.bit_count()
    if mask != ((1 << length) - 1) << (32 - length):
        raise ValueError(f"netmask {mask:#x} has holes")
    return f"{words[0]}/{length}"


def _inet6(words: list[str]) -> str:
    return f"{words[0].partition('%')[0]}/{int(words[words.index('prefixlen') + 1])}"


def list_interfaces(host: Host) -> dict[str, Interface]:
    """All interfaces of the host (or jail), by name."""
    done = host.run(["ifconfig", "-a"])
    return parse_interfaces(done.out, done.argv)


def get_interface(host: Host, name: str) -> Interface:
    """One interface; raises NoSuchInterface."""
    done = host.run(["ifconfig", name])
    found = parse_interfaces(done.out, done.argv)
    if name not in found:
        raise UnexpectedOutput(done.argv, done.out, f"interface {name}")
    return found[name]


def interfaces_in_group(host: Host, group: str) -> list[str]:
    """Names of the interfaces in a group (``ifconfig -g``), as the host orders them."""
    return host.run(["ifconfig", "-g", group]).out.split()
