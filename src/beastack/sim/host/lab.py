"""Owns the lab's networks: Linux bridges in the root namespace, each with the address of its gateway."""

import hashlib
import json
import socket

from beastack.sim.linux.commands import CommandFailed, ip


def exists(name: str) -> bool:
    # /sys may show another network namespace's interfaces: it shows those of whoever mounted it
    return any(known == name for _index, known in socket.if_nameindex())


def is_bridge(name: str) -> bool:
    return any(one.get("ifname") == name for one in json.loads(ip("-json", "link", "show", "type", "bridge") or "[]"))


def network_up(name: str, address: str) -> None:
    """Idempotent: a bridge that is there is brought to the wanted address."""
    if exists(name) and not is_bridge(name):
        raise CommandFailed(f"{name} exists and is no bridge")
    if not exists(name):
        # a fixed MAC address: otherwise the bridge takes the lowest of its members', which come and go
        mac = "02:be:a5" + "".join(f":{byte:02x}" for byte in hashlib.sha256(name.encode()).digest()[:3])
        ip("link", "add", "name", name, "address", mac, "type", "bridge", "stp_state", "0", "forward_delay", "0")
    present = json.loads(ip("-json", "address", "show", "dev", name))
    have = {
        f"{one['local']}/{one['prefixlen']}"
        for link in present
        for one in link.get("addr_info", [])
        if one["family"] == "inet"
    }
    for other in have - {address}:
        ip("address", "del", other, "dev", name)
    if address not in have:
        ip("address", "add", address, "dev", name)
    ip("link", "set", "dev", name, "up")


def network_down(name: str) -> None:
    if not exists(name):
        return
    if not is_bridge(name):
        raise CommandFailed(f"{name} is no bridge: left alone")
    ip("link", "delete", "dev", name)
