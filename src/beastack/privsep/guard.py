"""Entry points for guards: what a port may send, by MAC and address, checked before the bridge (ng_bpf(4))."""

from beastack.freebsd import netgraph
from beastack.freebsd.bpf_guard import guards
from beastack.freebsd.host import LocalHost
from beastack.privsep import checks
from beastack.privsep.context import entry

HOST = LocalHost()
MAX_PAIRS = 256


@entry
def set_guard(interface: str, pairs: list[list[str]]) -> None:
    """Let a tap send only as these pairs of MAC and address (or network, or "" for the MAC alone)."""
    name = checks.tap_name(interface)
    found = []
    for pair in checks.items(pairs, MAX_PAIRS, "pairs"):
        both = checks.items(pair, 2, "pair")
        if len(both) != 2:
            raise checks.Refused(f"pair: {pair!r} is not a MAC and an address")
        mac, address = both
        if address == "":
            text = ""
        else:
            text = checks.cidr(address) if isinstance(address, str) and "/" in address else checks.ip(address)
        found.append((checks.mac(mac), text))
    netgraph.set_guard(HOST, name, *guards(found))


@entry
def clear_guard(interface: str) -> None:
    """Let a tap send everything again; no guard is fine."""
    netgraph.clear_guard(HOST, checks.tap_name(interface))


@entry
def list_guards() -> list[str]:
    """Interfaces that have a guard."""
    return netgraph.list_guards(HOST)
