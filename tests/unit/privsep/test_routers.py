"""A router's routes and radvd's words, on the privileged side."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from beastack.freebsd.errors import failure
from beastack.freebsd.host import Completed, JailHost
from beastack.privsep import radvd, routers
from beastack.privsep.checks import Refused

ROUTER = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
OUTER = "qg-6f1a4f2e-0c"
ADVERT = {
    "interface": "qr-6f1a4f2e-0c",
    "mtu": 1450,
    "managed": True,
    "other": False,
    "dns_servers": ["2001:db8::53"],
    "prefixes": [{"network": "fd00::/64", "autonomous": False}],
}


class Table:
    """netstat and route of one jail, with the kernel's own entries."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[str, str, str, str]]] = {
            "inet": [("10.1.0.0/24", "link#2", "U", "qr-1"), ("10.1.0.1", "link#1", "UHS", "lo0")],
            "inet6": [("::1", "link#1", "UHS", "lo0"), ("fe80::%lo0/64", "link#1", "U", "lo0")],
        }
        self.changes: list[str] = []
        self.refuse = ""

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20.0, check: bool = True
    ) -> Completed:
        words = list(argv[2:])
        if words[0] == "netstat":
            entries = [
                {"destination": d, "gateway": g, "flags": f, "interface-name": i} for d, g, f, i in self.rows[words[-1]]
            ]
            family = {"rt-family": [{"address-family": "x", "rt-entry": entries}]}
            text = json.dumps({"statistics": {"route-information": {"route-table": family}}})
            return Completed(tuple(argv), 0, text, "")
        self.changes.append(" ".join(words))
        family = "inet6" if words[1] == "-6" else "inet"
        verb, *rest = [w for w in words[1:] if w not in ("-6", "-net")]
        if self.refuse and self.refuse in rest:
            raise failure(argv, 1, "", "route: writing to routing socket: Network is unreachable\n")
        if verb == "delete":
            self.rows[family] = [r for r in self.rows[family] if r[0] != rest[0]]
        elif rest[1] == "-interface":
            self.rows[family].append((rest[0], "link#3", "US", rest[2]))
        else:
            self.rows[family].append((rest[0], rest[1], "UGS", "x"))
        return Completed(tuple(argv), 0, "", "")

    def jail(self, name: str) -> JailHost:
        return JailHost(self, name)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    made = Table()
    monkeypatch.setattr(routers, "HOST", made)
    return made


def test_routes_are_made_once_and_removed(table: Table) -> None:
    wanted = (
        ROUTER,
        OUTER,
        ["203.0.113.1", "fe80::1"],
        ["198.51.100.0/24"],
        [{"destination": "10.9.0.0/16", "nexthop": "10.1.0.9"}, {"destination": "fd09::/48", "nexthop": "fd00::9"}],
    )
    assert routers.set_router_routes(*wanted) == []
    assert table.changes == [
        f"route add -net 198.51.100.0/24 -interface {OUTER}",
        "route add -net 10.9.0.0/16 10.1.0.9",
        "route add default 203.0.113.1",
        "route -6 add -net fd09::/48 fd00::9",
        f"route -6 add default fe80::1%{OUTER}",
    ]
    table.changes.clear()
    assert routers.set_router_routes(*wanted) == []
    assert table.changes == []
    assert (
        routers.set_router_routes(ROUTER, OUTER, [], [], [{"destination": "10.9.0.0/16", "nexthop": "10.1.0.8"}]) == []
    )
    assert table.changes == [
        "route delete -net 198.51.100.0/24",
        "route delete -net 10.9.0.0/16",
        "route add -net 10.9.0.0/16 10.1.0.8",
        "route delete default",
        "route -6 delete -net fd09::/48",
        "route -6 delete default",
    ]


def test_one_route_that_cannot_be_does_not_stop_the_others(table: Table) -> None:
    table.refuse = "10.7.0.0/16"
    routes = [{"destination": d, "nexthop": "10.1.0.9"} for d in ("10.7.0.0/16", "10.8.0.0/16")]
    (words,) = routers.set_router_routes(ROUTER, None, ["10.1.0.254"], [], routes)
    assert words.startswith("10.7.0.0/16 by 10.1.0.9:") and "unreachable" in words
    assert table.changes[-2:] == ["route add -net 10.8.0.0/16 10.1.0.9", "route add default 10.1.0.254"]


@pytest.mark.parametrize(
    "route",
    [
        {"destination": "0.0.0.0/0", "nexthop": "10.1.0.9"},
        {"destination": "10.7.0.0/16", "nexthop": "fd00::1"},
        {"destination": "10.7.0.1/16", "nexthop": "10.1.0.9"},
        {"destination": "10.7.0.0/16", "nexthop": "-interface"},
        {"destination": "10.7.0.0/16", "nexthop": "10.1.0.9", "flags": "-blackhole"},
    ],
)
def test_routes_that_are_none(route: dict[str, str], table: Table) -> None:
    with pytest.raises(Refused):
        routers.set_router_routes(ROUTER, OUTER, [], [], [route])
    assert table.changes == []


def test_a_gateway_of_one_link_needs_the_link(table: Table) -> None:
    with pytest.raises(Refused, match="no external port"):
        routers.set_router_routes(ROUTER, None, ["fe80::1"], [], [])


def test_a_port_of_another_jail_is_not_named() -> None:
    for name in ("ns-6f1a4f2e-0c", "tap6f1a4f2e-0c"):
        with pytest.raises(Refused):
            routers.remove_router_port(ROUTER, name)


def test_what_radvd_is_told() -> None:
    text = radvd.config([radvd.Advert.check(ADVERT, "qr-6f1a4f2e-0c")], 30, 100)
    assert "AdvManagedFlag on;" in text and "AdvOtherConfigFlag" not in text
    assert "RDNSS 2001:db8::53 {};" in text and "AdvLinkMTU 1450;" in text
    assert "prefix fd00::/64 { AdvOnLink on; AdvAutonomous off; };" in text
    small = radvd.Advert.check({**ADVERT, "mtu": 1000, "other": True}, "qr-6f1a4f2e-0c").text(30, 100)
    assert "AdvLinkMTU" not in small and "AdvOtherConfigFlag on;" in small


@pytest.mark.skipif(shutil.which("radvd") is None, reason="radvd is not installed")
def test_radvd_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "radvd.conf"
    file.write_text(radvd.config([radvd.Advert.check(ADVERT, "qr-6f1a4f2e-0c")], *radvd.intervals(3, 4)))
    argv = ["radvd", "--configtest", "-C", str(file), "-m", "stderr"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dns_servers", ["9.9.9.9"]),
        ("dns_servers", ["2001:db8::1"] * 4),
        ("prefixes", [{"network": "10.0.0.0/24", "autonomous": True}]),
        ("prefixes", [{"network": "fd00::/64", "autonomous": "on; };"}]),
        ("mtu", "1450; "),
    ],
)
def test_nothing_else_reaches_radvd(name: str, value: object) -> None:
    with pytest.raises(Refused):
        radvd.Advert.check({**ADVERT, name: value}, "qr-6f1a4f2e-0c")


@pytest.mark.parametrize(("least", "most"), [(2, 100), (76, 100), (30, 1801), (3, 3)])
def test_intervals_are_rfc_4861s(least: int, most: int) -> None:
    with pytest.raises(Refused):
        radvd.intervals(least, most)
