"""Routes of a host or jail (route(8), netstat(1))."""

import json
from contextlib import suppress
from dataclasses import dataclass

from beastack.freebsd.errors import NoSuchRoute, RouteExists, UnexpectedOutput
from beastack.freebsd.host import Host


@dataclass(frozen=True)
class Route:
    """One entry of the table: ``default`` or a network, its gateway, and the interface."""

    destination: str
    gateway: str
    interface: str


_DEFAULTS = ("default", "::/0")


def parse_routes(text: str, argv: tuple[str, ...] = ("netstat",)) -> list[Route]:
    """``netstat --libxo json -rn -f inet``. Raises UnexpectedOutput."""
    try:
        families = json.loads(text)["statistics"]["route-information"]["route-table"]["rt-family"]
        return [
            Route(entry["destination"], entry["gateway"], entry["interface-name"])
            for family in families
            for entry in family["rt-entry"]
        ]
    except (ValueError, KeyError, TypeError) as e:
        raise UnexpectedOutput(argv, text, "netstat's JSON with a route-table") from e


def list_routes(host: Host, family: str = "inet") -> list[Route]:
    """The table of ``inet`` or ``inet6``."""
    done = host.run(["netstat", "--libxo", "json", "-rn", "-f", family])
    return parse_routes(done.out, done.argv)


def set_default(host: Host, gateway: str | None, version: int = 4) -> None:
    """Make ``gateway`` the default route of IPv4 or IPv6 (``version``); None removes it."""
    command, family = (["route"], "inet") if version == 4 else (["route", "-6"], "inet6")
    current = next((r.gateway for r in list_routes(host, family) if r.destination in _DEFAULTS), None)
    if current == gateway:
        return
    if current is not None:
        with suppress(NoSuchRoute):
            host.run([*command, "delete", "default"])
    if gateway is not None:
        with suppress(RouteExists):
            host.run([*command, "add", "default", gateway])
