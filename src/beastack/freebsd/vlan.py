"""vlan(4) children of an interface (ifconfig(8)).

A child outlives its parent as an interface that carries nothing (shared/freebsd/15.1/02: `vlan-300` is still there
after its parent was destroyed), so a child of ours whose parent is another one or none is made again.
"""

from beastack.freebsd import clone
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_lines import Vlan, check_vlan


def ensure_vlan(host: Host, name: str, parent: str, tag: int, description: str) -> None:
    """A child of ``parent`` for frames with this tag, up.

    Raises ValueError for a tag that cannot be one, NoSuchInterface when the parent is missing, InterfaceExists when
    the parent has a child with this tag already, NotOurs.
    """
    wanted = Vlan(check_vlan(tag), parent)
    found = clone.find(host, name)
    if found is not None and found.vlan != wanted:
        clone.require_mark(found)
        clone.discard(host, name)
    with clone.making(host, "vlan", name, description, ["vlan", str(tag), "vlandev", parent]) as interface:
        if interface.vlan != wanted:
            raise clone.Differs(f"interface {name}: {interface.vlan} instead of {wanted}; it was removed")
        if not interface.is_up:
            host.run(["ifconfig", name, "up"])
