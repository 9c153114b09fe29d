"""A DHCP client for stand-ins: one offer, its options by number (RFC 2131, RFC 8415). It runs by python3 alone."""

import json
from dataclasses import dataclass

from .stand_in import StandIn

# Arguments: interface, MAC address, and "4", "6" (solicit) or "info" (information request).
_CLIENT = r"""
import json, socket, struct, sys
nic, mac, kind = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", "")), sys.argv[3]
def four():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, nic.encode())
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.bind(("", 68))
    ask = struct.pack("!BBBBIHH16x16s192x", 1, 1, 6, 0, 0x6265, 0, 0x8000, mac.ljust(16, b"\0"))
    ask += bytes.fromhex("63825363")
    ask += bytes([53, 1, 1, 55, 11, 1, 3, 6, 12, 15, 26, 42, 51, 66, 67, 121, 255])
    return s, ask, ("255.255.255.255", 67)
def six():
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.bind(("::", 546, 0, socket.if_nametoindex(nic)))
    duid = struct.pack("!HH", 3, 1) + mac
    ask = struct.pack("!HH", 1, len(duid)) + duid + struct.pack("!HHH", 8, 2, 0) + struct.pack("!HHHH", 6, 4, 23, 24)
    if kind == "6":
        ask += struct.pack("!HHIII", 3, 12, 1, 0, 0)
    return s, bytes([1 if kind == "6" else 11, 1, 2, 3]) + ask, ("ff02::1:2", 547, 0, socket.if_nametoindex(nic))
def options(data, at, head):
    found = {}
    while at < len(data) and (head != "!BB" or data[at] != 255):
        if head == "!BB" and data[at] == 0:
            at += 1
            continue
        code, size = struct.unpack_from(head, data, at)
        at += struct.calcsize(head)
        found[code] = data[at:at + size].hex()
        at += size
    return found
s, ask, where = four() if kind == "4" else six()
s.settimeout(3)
for _ in range(8):
    s.sendto(ask, where)
    try:
        data = s.recv(4000)
    except TimeoutError:
        continue
    if kind == "4":
        print(json.dumps({"address": socket.inet_ntoa(data[16:20]), "options": options(data, 240, "!BB")}))
    else:
        found = options(data, 4, "!HH")
        offer = bytes.fromhex(found.get(3, ""))
        inner = options(offer, 12, "!HH")
        address = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(inner[5])[:16]) if 5 in inner else ""
        print(json.dumps({"address": address, "options": found}))
    sys.exit()
sys.exit("nobody offers")
"""


@dataclass(frozen=True)
class Offer:
    """The address, "" where there is none, and options by number."""

    address: str
    options: dict[int, bytes]


def offered(guest: StandIn, kind: str = "4") -> Offer:
    """What a DHCP server offers: ``kind`` 4, 6, or info for what a stateless server says."""
    done = guest.inside("/usr/bin/python3", "-c", _CLIENT, guest.nic, guest.port.mac_address, kind)
    said = json.loads(done.stdout)
    return Offer(said["address"], {int(n): bytes.fromhex(v) for n, v in said["options"].items()})
