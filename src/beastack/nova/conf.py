"""The `[beastack]` options, in the configuration that nova reads."""

from typing import Any

from nova.conf import CONF

from beastack.privsep import conf as privsep_conf


def options() -> Any:
    """The `[beastack]` group, registered once."""
    privsep_conf.register(CONF)
    return CONF.beastack


def console_ports() -> range:
    """The configured range, both ends included."""
    first, _, last = str(options().console_ports).partition("-")
    return range(int(first), int(last) + 1)
