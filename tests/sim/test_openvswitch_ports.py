"""DHCP and router ports on a host whose switch is Open vSwitch: the entries of the agents, with real frames.

The wiring between is neutron-openvswitch-agent's; here it is done by hand, as that agent does it.
"""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.targets import running

from .conftest import PATH, Host, until
from .test_privsep import HELPER

pytestmark = pytest.mark.root

NET, ROUTER = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11", "7f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
ONE, TWO = "aaaaaaaa-bbcc-4c55-9d1b-0f7a8d7f2f11", "bbbbbbbb-bbcc-4c55-9d1b-0f7a8d7f2f11"
RULES = {
    "inner": [{"interface": f"qr-{TWO[:11]}", "addresses": ["10.8.0.1/24"]}],
    **dict.fromkeys(("outer", "address")),
    **dict.fromkeys(("snat", "metadata"), False),
    **{part: [] for part in ("unchanged", "floating", "forwards", "apart")},
}
MAKE = f"""
    jails.ensure_dhcp_jail("{NET}")
    jails.ensure_jail_port("{NET}", "{ONE}", "fa:16:3e:00:00:02", 1450)
    jails.set_jail_addresses("{NET}", "{ONE}", ["10.8.0.2/24"])
    routers.ensure_router_jail("{ROUTER}")
    routers.ensure_router_port("{ROUTER}", "{TWO}", "{NET}", False, "fa:16:3e:00:00:01", 1450)
    routers.set_router_addresses("{ROUTER}", "{TWO}", False, ["10.8.0.1/24"])
    # pf is there without a bridge agent
    routers.load_router_rules("{ROUTER}", {RULES})
"""
TAPS = (f"tap{ONE[:11]}", f"tap{TWO[:11]}")
# upstream's set_db_attribute and clear_db_attribute for a port that is wired (ovs_neutron_agent.py, port_bound)
WIRE = "; ".join(
    f"ovs-vsctl --timeout=20 set port {tap} tag=5 -- remove port {tap} trunks 4095 -- clear port {tap} vlan_mode"
    for tap in TAPS
)
PING = f"jexec qdhcp-{NET} ping -c 1 -t 1 10.8.0.1"
SERVE = "import socket; s = socket.create_server(('10.8.0.1', 5001)); c, _ = s.accept(); c.sendall(c.recv(9))"
ASK = (
    "import socket; s = socket.create_connection(('10.8.0.1', 5001), 5); s.sendall(b'hello'); print(s.recv(9).decode())"
)


LOOP = """
import sys
from oslo_config import cfg
from beastack.privsep import checks, interfaces, jails, ovs, routers
cfg.CONF(["--config-file", sys.argv[1]], project="test")
for code in sys.stdin:
    try:
        exec(eval(code))
        print("done", flush=True)
    except checks.Refused as e:
        print("refused:", e, flush=True)
"""


class Service:
    """The agents of one host, as far as they ask for root: one process, and what it calls one after the other."""

    def __init__(self, host: Host, folder: Path) -> None:
        (folder / "x.conf").write_text(
            f"[beastack]\nswitch = openvswitch\nphysical_interfaces = em0\naudit_log = {folder}/audit.log\n"
            "privsep_entries = jails,interfaces,routers,ovs\n"
            f"[beastack_privileged]\nhelper_command = {HELPER} --config-file {folder}/x.conf\n"
        )
        (folder / "code.py").write_text(LOOP)
        inside = running(host.directory)
        enter = ["nsenter", "-t", str(inside.pid), "-m", "-n", "-u", "-p", "--wd=/", "--", "env"]
        enter += [f"PATH={inside.directory}/bin:{PATH}", f"BEASTACK_SIM={inside.directory}"]
        self.host = host
        self.process = subprocess.Popen(
            [*enter, sys.executable, "-W", "ignore", f"{folder}/code.py", f"{folder}/x.conf"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str) -> str:
        """Calls of entries; `done`, or the words of a refusal."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(repr(textwrap.dedent(code)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


@pytest.fixture
def service(ovs_host: Host, tmp_path: Path) -> Iterator[Service]:
    for folder in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        folder.chmod(0o711)
    made = Service(ovs_host, tmp_path)
    yield made
    made.process.kill()
    made.process.communicate(timeout=10)


def test_ports_of_jails_are_ports_of_the_switch(service: Service, tmp_path: Path) -> None:
    host = service.host
    host.ok("ifconfig em0 inet 198.51.100.1/24")
    assert "has addresses (198.51.100.1/24)" in service.run("ovs.ovs_prepare(['em0'])")
    host.ok("ifconfig em0 inet 198.51.100.1 -alias")
    assert service.run("ovs.ovs_prepare(['em0'])") == service.run(MAKE) == "done\n"
    assert host.ok("ovs-vsctl list-ports br-em0") == "em0\n"
    assert "mtu 1504" in host.ok("ifconfig em0")
    for tap, port in zip(TAPS, (ONE, TWO), strict=True):
        assert f'iface-id="{port}"' in host.ok(f"ovs-vsctl get interface {tap} external_ids")
        assert f"bsg_{tap}" in host.ok("ngctl list")
        assert "TXCSUM" not in host.ok(f"ifconfig {tap}")
    # dead until it is wired, though the bridge forwards
    host.ok("ovs-ofctl add-flow br-int priority=0,actions=NORMAL")
    assert host.run(PING)[1] != 0
    host.ok(WIRE)
    until(lambda: host.run(PING)[1] == 0, "an answer")
    host.ok(f'jexec qrouter-{ROUTER} daemon -f python3 -c "{SERVE}"')
    assert host.ok(f'jexec qdhcp-{NET} python3 -c "{ASK}"') == "hello\n"
    # a guard that somebody shut down is put back
    host.ok(f"ngctl shutdown bsg_{TAPS[0]}:; ngctl shutdown bsg_em0:")
    assert service.run(f"assert [*ovs.ovs_keep_closed()] == ['em0', '{TAPS[0]}']") == "done\n"
    assert service.run("assert not ovs.ovs_keep_closed()") == "done\n"
    # what is right is left alone, also while the database is away
    host.ok(f"daemon -f -o {tmp_path}/pings {PING.replace('-c 1 -t 1', '-i 0.1 -c 30 -t 20')}")
    assert service.run(MAKE) == "done\n"
    host.ok("service ovsdb-server onerestart")
    assert service.run(MAKE) == "done\n"
    for tap in TAPS:
        assert host.ok(f"ovs-vsctl get port {tap} tag") == "5\n"
    until(lambda: "packet loss" in (tmp_path / "pings").read_text(), "the pings' end", 30)
    assert " 0.0% packet loss" in (tmp_path / "pings").read_text()
    # an end that somebody destroyed is made anew, and dead until it is wired anew
    host.ok(f"ifconfig {TAPS[0]} destroy")
    assert service.run(MAKE) == "done\n"
    assert host.ok(f"ovs-vsctl get port {TAPS[0]} trunks") == "[4095]\n"
    assert host.run(PING)[1] != 0
    host.ok(WIRE)
    until(lambda: host.run(PING)[1] == 0, "an answer")
    # no row is left of what goes, whichever way it goes
    gone = f"interfaces.destroy_interface('{TAPS[0]}'); routers.remove_router_port('{ROUTER}', 'qr-{TWO[:11]}')"
    assert service.run(gone) == "done\n"
    assert host.ok("ovs-vsctl list-ports br-int") == ""
    gone = f"routers.remove_router_jail('{ROUTER}'); jails.remove_dhcp_jail('{NET}')"
    assert service.run(MAKE) == service.run(gone) == "done\n"
    assert host.ok("ovs-vsctl list-ports br-int") == ""
