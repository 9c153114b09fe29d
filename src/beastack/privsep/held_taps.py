"""Entry points for taps that libvirt makes: they stay where no frame passes until the L2 agent has filtered them.

libvirt's bhyve driver makes a guest's taps itself, named as the domain says, up, in a bridge that must be there
(src/bhyve/bhyve_command.c, bhyveBuildNetArgStr; src/util/virnetdevtap.c), and runs bhyve at once. So that bridge is one
of ours in monitor mode: if_bridge(4) discards whatever its members send (bridge_input: IFF_MONITOR), so they reach
neither each other nor the host. There a tap is marked; the agent then loads its rules and its guard and only then moves
it into its network's bridge, as it does with every tap. libvirt destroys it when the guest ends.
"""

import threading

from beastack.freebsd import clone, ifnet
from beastack.freebsd.errors import HostError
from beastack.freebsd.host import LocalHost
from beastack.freebsd.ifnet_read import Interface, get_interface
from beastack.privsep import checks
from beastack.privsep.context import entry

HOST = LocalHost()
HOLDING = "bsholding"
_MARK = "beastack:holding:taps"
_DEAD = {"UP", "MONITOR"}
# Whoever started a guest and whoever looks at all of them may come at once, and a group is joined once.
_MARKING = threading.Lock()


class NotHeld(HostError):
    """A tap is not where nothing passes, or that bridge lets frames pass."""


@entry
def ensure_holding_bridge() -> None:
    """The bridge in which nothing passes. Raises NotHeld when it cannot be made so, NotOurs."""
    with clone.making(HOST, "bridge", HOLDING, _MARK) as bridge:
        if not bridge.flags >= _DEAD:
            HOST.run(["ifconfig", HOLDING, "monitor", "up"])
    _holding()


def _holding() -> Interface:
    found = ifnet.require_ours(HOST, HOLDING)
    if not found.flags >= _DEAD:
        raise NotHeld(f"{HOLDING} is not in monitor mode: what is in it could be reached")
    return found


def list_held_taps() -> list[str]:
    """Taps of our names that stand in the holding bridge without our mark. No entry: anybody may look (ifconfig(8))."""
    found = ifnet.find(HOST, HOLDING)
    names = [] if found is None else [name for name in found.members if checks.is_tap_name(name)]
    return sorted(name for name in names if ifnet.GROUP not in get_interface(HOST, name).groups)


@entry
def adopt_tap(name: str, description: str) -> None:
    """Mark a tap of libvirt's as ours (beastack:port:UUID); it stays held. One that is ours already is left as it is.

    Raises NotHeld when it stands anywhere else than in the holding bridge, NoSuchInterface.
    """
    name = checks.tap_name(name)
    description = checks.description_of(description, "port", name)
    with _MARKING:
        _adopt(name, description)


def _adopt(name: str, description: str) -> None:
    tap = get_interface(HOST, name)
    if ifnet.GROUP in tap.groups and tap.description == description:
        return
    if ifnet.GROUP in tap.groups:
        raise checks.Refused(f"tap: {name} is that of {tap.description}")
    if "tap" not in tap.groups or name not in _holding().members:
        raise NotHeld(f"{name} was made by somebody else, and is not in {HOLDING}: left alone")
    HOST.run(["ifconfig", name, "description", description])
    HOST.run(["ifconfig", name, "group", ifnet.GROUP])  # last: from here on the agent sees it


@entry
def drop_held_tap(name: str) -> None:
    """Destroy a tap of libvirt's that it left behind; the guest must have ended. Gone is fine.

    Raises NotOurs for one that is neither marked nor in the holding bridge.
    """
    name = checks.tap_name(name)
    tap, holding = ifnet.find(HOST, name), ifnet.find(HOST, HOLDING)
    if tap is None:
        return
    if holding is None or name not in holding.members or ifnet.GROUP not in holding.groups:
        clone.require_mark(tap)
    clone.discard(HOST, name)
