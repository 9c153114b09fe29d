"""Who is at which address of the wire: ARP for IPv4, neighbour discovery for IPv6 (arp(8), ndp(8)).

ARP is read as JSON (shared/freebsd/15.1/03). ndp(8) prints JSON only in newer releases and is read as text, whose
columns are those of its source (usr.sbin/ndp/ndp.c); no transcript shows it.
"""

import ipaddress
import re
from dataclasses import dataclass

from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.host import Host
from beastack.freebsd.libxo import rows

_MAC = re.compile(r"[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}")
_NDP = re.compile(r"(\S+) +(\S+) +(\S+) +(permanent|expired|(?:\d{1,6}[dhms]){1,4}) +([A-Z?])\b.*")
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True)
class Neighbour:
    """One entry. ``mac`` is None while nobody has answered; ``expires`` are seconds, None when it never does."""

    address: str
    mac: str | None
    interface: str
    expires: int | None


def _mac(text: str, argv: tuple[str, ...]) -> str:
    if _MAC.fullmatch(text) is None:
        raise UnexpectedOutput(argv, text, "a MAC address")
    return ":".join(f"{int(part, 16):02x}" for part in text.split(":"))


def parse_arp(text: str, argv: tuple[str, ...] = ("arp",)) -> list[Neighbour]:
    """``arp --libxo json -an``. Raises UnexpectedOutput."""
    found = []
    for row in rows(text, argv, "arp", "arp-cache"):
        mac = _mac(row.text("mac-address"), argv) if row.has("mac-address") else None
        expires = row.number("expires") if row.has("expires") else None
        found.append(Neighbour(row.text("ip-address"), mac, row.text("interface"), expires))
    return found


def parse_ndp(text: str, argv: tuple[str, ...] = ("ndp",)) -> list[Neighbour]:
    """``ndp -an``; addresses without their zone. Raises UnexpectedOutput."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("Neighbor "):
        raise UnexpectedOutput(argv, text, "the heading Neighbor …")
    found = []
    for line in lines[1:]:
        match = _NDP.fullmatch(line)
        if match is None:
            raise UnexpectedOutput(argv, line, "ADDRESS MAC INTERFACE EXPIRE STATE")
        mac = None if match[2] == "(incomplete)" else _mac(match[2], argv)
        found.append(Neighbour(match[1].partition("%")[0], mac, match[3], _seconds(match[4])))
    return found


def _seconds(text: str) -> int | None:
    if text == "permanent":
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))


def list_neighbours(host: Host, version: int = 4) -> list[Neighbour]:
    """The table of IPv4 or IPv6."""
    if version == 4:
        done = host.run(["arp", "--libxo", "json", "-an"])
        return parse_arp(done.out, done.argv)
    done = host.run(["ndp", "-an"])
    return parse_ndp(done.out, done.argv)


def _program(address: str) -> tuple[str, int]:
    version = ipaddress.ip_address(address).version
    return ("arp", 4) if version == 4 else ("ndp", 6)


def ensure(host: Host, address: str, mac: str) -> None:
    """A permanent entry. Raises UnexpectedOutput when it is not there afterwards: no interface has this network
    (both programs say so and end with 0).
    """
    program, version = _program(address)
    if any(n.address == address and n.mac == mac and n.expires is None for n in list_neighbours(host, version)):
        return
    done = host.run([program, "-s", address, mac])
    if not any(n.address == address and n.mac == mac for n in list_neighbours(host, version)):
        raise UnexpectedOutput(done.argv, done.out + done.err, f"{address} to be at {mac}")


def remove(host: Host, address: str) -> None:
    """Forget an entry; gone is fine."""
    program, version = _program(address)
    if any(n.address == address for n in list_neighbours(host, version)):
        host.run([program, "-d", address])
