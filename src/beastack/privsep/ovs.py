"""Entry points for Open vSwitch: bridges of ours, ports of ours, flows as checked text, and connections' states.

The bridges are ``br-int`` and ``br-CARD`` of the cards that the configuration names. What becomes a port gets a guard
first that drops every frame on its way into the host's own stack: Open vSwitch reads interfaces by bpf(4), which hands
out a copy before netgraph(4) sees the frame (ether_input_internal, sys/net/if_ethersubr.c).
"""

from oslo_config import cfg

from beastack.freebsd import ifnet, kld, netgraph, ovs, pf_host
from beastack.freebsd.errors import HostError, NoSuchInterface
from beastack.freebsd.host import LocalHost
from beastack.freebsd.ifnet_read import get_interface, list_interfaces
from beastack.privsep import checks, conf, flows, switch_ports
from beastack.privsep.checks import Refused
from beastack.privsep.context import entry

HOST = LocalHost()
# Flows of one call, and addresses whose states one call may end.
MOST_FLOWS = 20_000
MOST_ADDRESSES = 1024
MOST_CARDS = 64
MODULES = tuple(module for module in pf_host.MODULES if module != "if_bridge")
# Bytes: bpf(4) sends no frame whose contents with a VLAN's tag are larger than the MTU (bpf_movein, sys/net/bpf.c).
TAGGED_MTU = 1500 + 4


def _card(value: object) -> str:
    """A card that the configuration names, for any network."""
    cards = conf.network_cards(conf.register(cfg.CONF))
    name = checks.nic_name(value, cards)
    if cards[name] is not None:
        raise Refused(f"network card: {name} is tied to network {cards[name]}: Open vSwitch shares it out by VLANs")
    return name


def _bridge(value: object) -> str:
    """``br-int``, or ``br-`` and a card."""
    if not isinstance(value, str) or not value.startswith("br-"):
        raise Refused(f"bridge: {value!r} is none of br-int and br-CARD")
    return value if value == ovs.INTEGRATION else f"br-{_card(value.removeprefix('br-'))}"


@entry
def ovs_prepare(uplinks: list[str]) -> None:
    """``br-int`` without ports whose interfaces are gone, and a bridge ``br-CARD`` for each of these cards, with it.

    A card must have no address. Its MTU becomes at least 1504, with room for a tag behind the header.
    """
    cards = [_card(value) for value in checks.items(uplinks, MOST_CARDS, "uplinks")]
    for card in cards:
        found = get_interface(HOST, card)
        # a card makes itself a link-local address when it comes up (inet6(4))
        if addresses := [*found.inet, *(a for a in found.inet6 if not a.startswith("fe80:"))]:
            raise Refused(f"network card: {card} has addresses ({', '.join(addresses)}): it would lose its network")
    # what a bridge agent would have loaded: routers' jails have a pf(4) of their own
    kld.ensure_loaded(HOST, MODULES)
    ovs.ensure_bridge(HOST, ovs.INTEGRATION)
    here = list_interfaces(HOST)
    for name in ovs.list_ports(HOST, ovs.INTEGRATION):
        # what the host lost by its reboot is made and plugged anew by whoever wants it
        if name.startswith("tap") and name not in here:
            ovs.unplug(HOST, ovs.INTEGRATION, name)
    for card in cards:
        switch_ports.close_to_host(HOST, card)
        # frames that the card put together are larger than a capture, and than the network's
        ifnet.turn_off(HOST, card, "lro")
        if get_interface(HOST, card).mtu < TAGGED_MTU:
            ifnet.set_mtu(HOST, card, TAGGED_MTU)
        ifnet.set_up(HOST, card)
        ovs.ensure_bridge(HOST, f"br-{card}")
        ovs.plug(HOST, f"br-{card}", card, {}, dead=False)


@entry
def ovs_plug(interface: str, port_id: str, mac: str, vm_uuid: str | None) -> None:
    """Make a tap… of ours, of this port, a port of ``br-int``, which carries nothing until the agent has wired it.

    One that is there stays wired. ``vm_uuid`` is None for a port that is no guest's.
    """
    name, port = checks.tap_name(interface), checks.uuid(port_id)
    if port[:11] != name[3:]:
        raise Refused(f"interface: {name} is not that of port {port}")
    address, guest = checks.mac(mac), None if vm_uuid is None else checks.uuid(vm_uuid)
    ifnet.require_ours(HOST, name)
    switch_ports.plug(HOST, name, port, address, guest)


@entry
def ovs_unplug(interface: str) -> None:
    """Take a tap… out of ``br-int``; gone is fine. Its guard goes with the interface."""
    ovs.unplug(HOST, ovs.INTEGRATION, checks.tap_name(interface))


@entry
def ovs_keep_closed() -> list[str]:
    """Put back the guards that keep ports' frames from the host's own stack; returns the ports that had lost theirs.

    A port whose guard cannot be put back goes down, and the error is raised when all were looked at.
    """
    ports = {name for name in ovs.list_ports(HOST, ovs.INTEGRATION) if name.startswith("tap")}
    for card in (name for name, tied in conf.network_cards(conf.register(cfg.CONF)).items() if tied is None):
        found = ovs.find_port(HOST, card)
        if found is not None and found.bridge == f"br-{card}":
            ports.add(card)
    lost = sorted((ports & set(list_interfaces(HOST))) - set(netgraph.list_guards(HOST)))
    failed: HostError | None = None
    for name in lost:
        try:
            switch_ports.close_to_host(HOST, name)
        except NoSuchInterface:
            continue  # gone meanwhile, and its frames with it
        except HostError as e:
            failed = e
            ifnet.set_down(HOST, name)
    if failed is not None:
        raise failed
    return lost


@entry
def ovs_flows(bridge: str, action: str, flows_text: list[str]) -> None:
    """Flows to ``add``, ``mod`` or ``del`` in a bridge of ours: all of them or none."""
    name = _bridge(bridge)
    if action not in flows.ACTIONS:
        raise Refused(f"action: {action!r} is none of {', '.join(flows.ACTIONS)}")
    lines = [flows.checked(line, action) for line in checks.items(flows_text, MOST_FLOWS, "flows")]
    if lines:
        ovs.change_flows(HOST, name, action, lines)


@entry
def ovs_end_states(zone: int, addresses: list[str]) -> int:
    """End connections of a local VLAN: those of these addresses, or, when none are named, those that are marked as no
    longer allowed. Returns how many could not be ended because ovs-appctl has no words for their protocol.
    """
    number = checks.number(zone, 1, 4094, "zone")
    wanted = {checks.ip(address) for address in checks.items(addresses, MOST_ADDRESSES, "addresses")}
    left = 0
    for state in ovs.list_states(HOST, number):
        if state.addresses & wanted if wanted else state.mark:
            left += not ovs.end_state(HOST, number, state)
    return left
