"""Entry points for a network's way out of the host: a vlan(4) child of a network card, or a vxlan(4) tunnel.

A caller names a network by its id and says its number; the interface's name follows from the id (``vln`` or ``vxl`` and
11 characters), and it becomes a member of that network's bridge and of no other. Network cards, this host's tunnel
address and where floods go come from this side's own configuration.
"""

import ipaddress

from oslo_config import cfg

from beastack.freebsd import bridge as bridges
from beastack.freebsd import ifnet, pf, vlan, vxlan
from beastack.freebsd.host import LocalHost
from beastack.freebsd.pf_rules import Rule
from beastack.privsep import checks, conf
from beastack.privsep.checks import Refused
from beastack.privsep.context import entry
from beastack.privsep.interfaces import allowed_card

HOST = LocalHost()
# Entries that one call may add, and as many that it may remove.
MOST_ENTRIES = 256


def _names(network_id: object, prefix: str) -> tuple[str, str, str]:
    """Bridge, uplink and the uplink's description."""
    network = checks.uuid(network_id)
    return f"brq{network[:11]}", f"{prefix}{network[:11]}", f"beastack:network:{network}"


def _join(bridge: str, uplink: str) -> None:
    _open(uplink)
    bridges.attach_untagged(HOST, ifnet.require_ours(HOST, bridge).name, uplink)


def _open(uplink: str) -> None:
    """Filtering is done at ports; what carries our mark and has no rules passes nothing (freebsd/pf_host.py)."""
    pf.load_rules(HOST, uplink, [Rule("pass", f"{uplink}/open", allow_opts=True)])


@entry
def ensure_vlan(network_id: str, card: str, tag: int, mtu: int) -> None:
    """The network's VLAN of an allowed network card as a member of the network's bridge, which must be there."""
    bridge, name, description = _names(network_id, "vln")
    parent = allowed_card(card, bridge)
    tag, mtu = checks.number(tag, 1, 4094, "VLAN"), checks.mtu(mtu)
    members = ifnet.require_ours(HOST, bridge).members
    vlan.ensure_vlan(HOST, name, parent, tag, description)
    if name not in members:
        ifnet.set_mtu(HOST, name, mtu)
    ifnet.set_up(HOST, parent)
    _join(bridge, name)


def _spec(vni: int) -> vxlan.Spec:
    section = conf.register(cfg.CONF)
    local, group = section.tunnel_address, section.tunnel_group
    if not local:
        raise Refused("[beastack] tunnel_address is not configured: no tunnels here")
    try:
        if group:
            return vxlan.Spec(vni, local, group, device=section.tunnel_device or None)
        return vxlan.Spec(vni, local, local, remote_port=vxlan.FLOOD_PORT, learn=False)
    except ValueError as e:
        raise Refused(f"[beastack] tunnel_address, tunnel_group, tunnel_device: {e}") from None


@entry
def ensure_vxlan(network_id: str, vni: int, mtu: int) -> bool:
    """The network's tunnel as a member of the network's bridge, which must be there; True when it was made just now.

    A tunnel that was made now has no forwarding entries.
    """
    bridge, name, description = _names(network_id, "vxl")
    spec = _spec(checks.number(vni, 1, (1 << 24) - 1, "VNI"))
    mtu = checks.mtu(mtu)
    members = ifnet.require_ours(HOST, bridge).members
    found = ifnet.find(HOST, name)
    there = found is not None and found.vxlan == spec.shown
    # a member's MTU is its bridge's: asked for another one, it would be refused
    kept = found.mtu if found is not None and there and name in members else mtu
    vxlan.ensure_vxlan(HOST, name, spec, description, kept)
    _join(bridge, name)
    return not there


@entry
def open_uplink(name: str) -> None:
    """Let everything pass at a vln… or vxl… of ours: its rules, which were lost."""
    _open(ifnet.require_ours(HOST, checks.uplink_name(name)).name)


@entry
def destroy_uplink(name: str) -> None:
    """Destroy a vln… or vxl… of ours, and its rules; gone is fine."""
    ifnet.destroy(HOST, checks.uplink_name(name))
    pf.unload(HOST, name)


@entry
def change_entries(network_id: str, add: list[list[str]], remove: list[str]) -> None:
    """Forwarding entries of the network's tunnel: [MAC, host] pairs to have, MACs to forget.

    One that is for another host is replaced, one that is gone counts as forgotten.
    """
    _, name, _ = _names(network_id, "vxl")
    local = conf.register(cfg.CONF).tunnel_address
    wanted = []
    for pair in checks.items(add, MOST_ENTRIES, "entries"):
        both = checks.items(pair, 2, "entry")
        if len(both) != 2:
            raise Refused("entry: a MAC and a host are wanted")
        mac, host = checks.mac(both[0]), checks.peer(both[1])
        if not local or ipaddress.ip_address(host).version != ipaddress.ip_address(local).version or host == local:
            raise Refused(f"entry: {host} is no host that a tunnel of {local or 'no address'} reaches")
        wanted.append((mac, host))
    gone = [checks.mac(mac) for mac in checks.items(remove, MOST_ENTRIES, "entries")]
    ifnet.require_ours(HOST, name)
    vxlan.set_entries(HOST, name, {**dict.fromkeys(gone), **dict(wanted)})
