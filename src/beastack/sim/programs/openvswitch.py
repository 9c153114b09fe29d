"""Owns how ovs-vswitchd starts: Debian's, without the kernel's datapath, and with the engine between it and the
database (openvswitch/relay.py)."""

import re

from beastack.sim.net.errors import Failed
from beastack.sim.openvswitch import package
from beastack.sim.openvswitch.relay import Relay
from beastack.sim.programs.base import Reply, Request

_DATABASE = "/var/run/openvswitch/db.sock"


async def vswitchd(request: Request) -> Reply:
    """`ovs-vswitchd [OPTIONS] [unix:DATABASE]`: the caller becomes it."""
    base = package.root()
    if base is None:
        raise Failed("ovs-vswitchd: not found (beastack-sim packages openvswitch)", 127)
    if request.jail is not None:
        raise Failed("ovs-vswitchd: not simulated: in a jail")
    options, database = list(request.argv), _DATABASE
    if options and (found := re.fullmatch(r"unix:(.+)", options[-1])) is not None:
        database = found[1]
        options.pop()
    state = request.state

    def want(pid: int, names: frozenset[str]) -> None:
        state.captures.want(pid, names, state.host)

    relay = state.relays.setdefault(database, Relay(database, len(state.relays), want))
    await relay.listen()
    return Reply(exec=[*package.command("ovs-vswitchd", base), "--disable-system", *options, f"unix:{relay.path}"])
