"""Entry points for limits: how much a port may send, by ng_car(4) behind its guard."""

from beastack.freebsd import car
from beastack.freebsd.host import LocalHost
from beastack.privsep import checks
from beastack.privsep.context import entry, query

HOST = LocalHost()


@entry
def set_rate(interface: str, kbps: int, burst_kb: int) -> None:
    """Let a tap send so many kbit a second, and so many kbit at once (0: 80 % of what a second brings)."""
    name = checks.tap_name(interface)
    rate = car.Rate(
        checks.number(kbps, car.MIN_KBPS, car.MAX_KBPS, "kbit/s"),
        checks.number(burst_kb, 0, car.MAX_BURST_KB, "burst"),
    )
    car.set_rate(HOST, name, rate)


@entry
def clear_rate(interface: str) -> None:
    """Let a tap send without a limit; none is fine."""
    car.clear_rate(HOST, checks.tap_name(interface))


@query
def list_rates() -> dict[str, bool]:
    """Interfaces that have a limit, and whether it is whole."""
    return car.list_rates(HOST)
