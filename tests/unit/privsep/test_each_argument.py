"""Each argument of each entry point is looked at by itself: the others are good, one is not."""

import contextlib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from oslo_config import cfg

import beastack.privsep
from beastack.freebsd.errors import HostError
from beastack.freebsd.host import Completed, LocalHost
from beastack.privsep import conf, context, guest_conf

for found in pkgutil.iter_modules(beastack.privsep.__path__):
    if found.name != "helper":
        importlib.import_module(f"beastack.privsep.{found.name}")

UUID = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
TIMES = dict.fromkeys(("http_request", "connect", "client", "server", "http_keep_alive"), 30)
GOOD: dict[str, object] = {
    "network_id": UUID,
    "port_id": UUID,
    "uuid": UUID,
    "segment": None,
    "interface": "tap6f1a4f2e-0c",
    "dhcp.start_dnsmasq.interface": "ns-6f1a4f2e-0c",
    "ranges": [{"subnet_id": UUID, "cidr": "10.0.0.0/24"}],
    "lease_seconds": 86400,
    "lease_max": 256,
    "mtu": 1450,
    "renewal_seconds": 0,
    "rebinding_seconds": 0,
    "dns_servers": ["9.9.9.9"],
    "domain": "openstacklocal",
    "local_resolv": False,
    "broadcast": False,
    "txt_record": "",
    "ipv6": True,
    "timeouts": TIMES,
    "limits": None,
    "pairs": [["fa:16:3e:00:00:01", "10.0.0.1"]],
    "kbps": 1000,
    "burst_kb": 0,
    "graceful_seconds": 5,
    "bridge": "brq6f1a4f2e-0c",
    "interfaces.ensure_bridge.name": "brq6f1a4f2e-0c",
    "interfaces.destroy_bridge.name": "brq6f1a4f2e-0c",
    "interfaces.set_bridge_mtu.name": "brq6f1a4f2e-0c",
    "uplinks.destroy_uplink.name": "vxl6f1a4f2e-0c",
    "uplinks.open_uplink.name": "vln6f1a4f2e-0c",
    "card": "em0",
    "tag": 100,
    "vni": 10001,
    "add": [["fa:16:3e:00:00:01", "192.0.2.2"]],
    "remove": ["fa:16:3e:00:00:02"],
    "name": "tap6f1a4f2e-0c",
    "description": f"beastack:port:{UUID}",
    "interfaces.ensure_bridge.description": f"beastack:network:{UUID}",
    "mac": "fa:16:3e:00:00:01",
    "cidrs": ["10.0.0.1/24"],
    "gateway": "10.0.0.1",
    "version": 4,
    "pf.drop_table.name": "bs4_0123456789ab",
    "pf.replace_table.name": "bs4_0123456789ab",
    "members": ["10.0.0.1"],
    "rules": [],
    "label": "tap6f1a4f2e-0c/in/0123456789abcdef",
    "address": "10.0.0.1",
    "image_id": UUID,
    "volume_id": UUID,
    "disk": "root",
    "size": 1 << 30,
    "offset": 0,
    "length": 4096,
    "data": b"x",
    "router_id": UUID,
    "external": True,
    "routers.remove_router_port.name": "qr-6f1a4f2e-0c",
    "outer": "qg-6f1a4f2e-0c",
    "gateways": ["203.0.113.1", "fe80::1"],
    "onlink": ["198.51.100.0/24"],
    "routes": [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}],
    "routers.load_router_rules.rules": {
        "inner": [{"interface": "qr-6f1a4f2e-0c", "addresses": ["10.0.0.1/24", "fd00::1/64"]}],
        "outer": "qg-6f1a4f2e-0c",
        "address": "203.0.113.10",
        "snat": True,
        "unchanged": ["10.3.0.0/24"],
        "floating": [{"fixed": "10.0.0.5", "floating": "203.0.113.20"}],
        "forwards": [
            {
                "protocol": 6,
                "floating": "203.0.113.21",
                "outer_ports": [2222, 2222],
                "fixed": "10.0.0.5",
                "inner_ports": [22, 22],
            }
        ],
        "metadata": True,
        "apart": [{"interface": "qg-6f1a4f2e-0c", "networks": ["10.4.0.0/24", "fd00:4::/64"]}],
    },
    "adverts": [
        {
            "interface": "qr-6f1a4f2e-0c",
            "mtu": 1450,
            "managed": False,
            "other": True,
            "dns_servers": ["2001:db8::53"],
            "prefixes": [{"network": "fd00::/64", "autonomous": True}],
        }
    ],
    "least_seconds": 30,
    "most_seconds": 100,
    "pf.change_table.name": "bs4_0123456789ab",
    "come": ["10.0.0.1"],
    "go": ["10.0.1.0/24"],
    "interfaces": ["tap6f1a4f2e-0c"],
    "addresses": ["10.0.0.1", "10.0.1.0/24"],
    "uplinks": ["em0"],
    "vm_uuid": UUID,
    "ovs.ovs_flows.bridge": "br-int",
    "action": "add",
    "flows_text": ["table=60,priority=5,actions=drop"],
    "zone": 5,
    "ovs.ovs_end_states.addresses": ["10.0.0.1"],
}
BAD: list[object] = ["a\nb", {"a": "b"}, -7, "-F\0", ["--conf-file=/tmp/x", "x\ny"], b"x"]
# A guest's folder does not exist here: everything about one is refused (test_guests.py looks at them).
ENTRIES = {
    n.removeprefix("beastack.privsep."): f
    for n, f in context.entries.items()
    if ".guests." not in n and ".iscsi." not in n and ".lines." not in n
}
ARGUMENTS = [(n, p) for n, f in sorted(ENTRIES.items()) for p in inspect.signature(f).parameters]


def good(name: str, parameter: str) -> object:
    return GOOD.get(f"{name}.{parameter}", GOOD.get(parameter, KeyError))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Sequence[str]]]:
    commands: list[Sequence[str]] = []

    def run(self: LocalHost, argv: Sequence[str], **kw: object) -> Completed:
        commands.append(argv)
        return Completed(tuple(argv), 0, "", "")

    monkeypatch.setattr(LocalHost, "run", run)
    (tmp_path / "dhcp" / UUID).mkdir(parents=True)
    cfg.CONF([], project="test")
    conf.register(cfg.CONF)
    for option, value in (("dhcp_path", "dhcp"), ("proxy_path", "proxy"), ("metadata_socket", "socket")):
        cfg.CONF.set_override(option, str(tmp_path / value), "beastack")
    # the tests' own folder is closed to other users
    cfg.CONF.set_override("dnsmasq_user", "root", "beastack")
    guest_conf.register(cfg.CONF)
    cfg.CONF.set_override("zfs_root", "tank/beastack", "beastack")
    cfg.CONF.set_override("physical_interfaces", ["em0"], "beastack")
    cfg.CONF.set_override("tunnel_address", "192.0.2.1", "beastack")
    yield commands
    others = ("dnsmasq_user", "physical_interfaces", "tunnel_address", "zfs_root")
    for option in ("dhcp_path", "proxy_path", "metadata_socket", *others):
        cfg.CONF.clear_override(option, "beastack")


@pytest.mark.parametrize(("name", "parameter"), ARGUMENTS)
def test_a_bad_one_is_refused_and_nothing_runs(name: str, parameter: str, ran: list[Sequence[str]]) -> None:
    function = ENTRIES[name]
    arguments = {p: good(name, p) for p in inspect.signature(function).parameters}
    for bad in BAD:
        if bad == arguments[parameter]:
            continue
        with pytest.raises(Exception) as caught:
            function(**{**arguments, parameter: bad})
        assert type(caught.value).__name__ in {"Refused", "BadRule", "BadGuard"}, f"{bad!r}: {caught.value!r}"
    assert ran == []


@pytest.mark.parametrize(("name", "function"), sorted(ENTRIES.items()))
def test_good_ones_come_through(name: str, function: Callable[..., object], ran: list[Sequence[str]]) -> None:
    arguments = {p: good(name, p) for p in inspect.signature(function).parameters}
    assert KeyError not in arguments.values(), f"{name}: say in GOOD what a good argument is"
    # the host that answers nothing is not understood; what counts is that nothing was refused
    with contextlib.suppress(HostError, KeyError):
        function(**arguments)
