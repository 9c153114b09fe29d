"""Ports of Open vSwitch's ``br-int``: what several entry points do to them."""

from oslo_config import cfg

from beastack.freebsd import ifnet, kld, netgraph, ovs
from beastack.freebsd.bpf_guard import drop_all
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_read import get_interface
from beastack.privsep import conf
from beastack.privsep.checks import Refused

# Open vSwitch asks libpcap for 2,048 bytes of a frame (PCAP_SNAPLEN, lib/netdev-bsd.c): what is longer it would send on
# broken. Less an Ethernet header and a VLAN's tag.
MOST_MTU = 2048 - 14 - 4
# What guards are made of; after a reboot nothing else may have loaded it.
MODULES = ("ng_ether", "ng_bpf")


def close_to_host(host: Host, interface: str) -> None:
    """The host's own stack gets none of the interface's frames; what is sent there goes out.

    Raises Refused for an interface whose frames Open vSwitch could not read whole.
    """
    mtu = get_interface(host, interface).mtu
    if mtu > MOST_MTU:
        raise Refused(f"interface: {interface} has an MTU of {mtu}: Open vSwitch reads frames of at most {MOST_MTU}")
    kld.ensure_loaded(host, MODULES)
    netgraph.set_guard(host, interface, drop_all())


def plug(host: Host, tap: str, port_id: str, mac: str, vm_uuid: str | None) -> None:
    """Make a tap of ours a port that carries nothing until the agent has wired it; one that is there stays wired."""
    ids = {"iface-id": port_id, "attached-mac": mac, "iface-status": "active"}
    if vm_uuid is not None:
        ids["vm-uuid"] = vm_uuid
    close_to_host(host, tap)
    # bpf(4) hands out frames as they are: a sum that the card was to make would be wrong on the way
    ifnet.turn_off(host, tap, "txcsum", "txcsum6", "lro")
    ifnet.set_up(host, tap)
    ovs.plug(host, ovs.INTEGRATION, tap, ids)


def plug_if_switched(host: Host, tap: str, port_id: str, mac: str) -> bool:
    """The same for a jail's port, and True, where Open vSwitch joins this host's ports."""
    switched = conf.openvswitch(cfg.CONF)
    if switched:
        plug(host, tap, port_id, mac, None)
    return switched


def unplug_if_switched(host: Host, tap: str) -> None:
    """Before the interface goes, its port does; gone is fine."""
    if conf.openvswitch(cfg.CONF):
        ovs.unplug(host, ovs.INTEGRATION, tap)
