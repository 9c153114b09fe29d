"""07-vxlan: a tenant network between two simulated hosts, command by command, with real datagrams between them."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from beastack.freebsd import vxlan_ioctl as ioctl

from . import replay
from .conftest import PROVIDER, Host, until
from .replay import Run

pytestmark = pytest.mark.root

# What the machine that was recorded had before the first command
SETUP = """
ifconfig vtnet1 inet 192.168.50.{n}/24 up
ifconfig bridge create name brq up; ifconfig epair1 create; ifconfig epair1a up
jail -c name=vm path=/ vnet persist allow.raw_sockets; ifconfig epair1b vnet vm
jexec vm ifconfig epair1b ether fa:16:3e:00:01:0{n}; jexec vm ifconfig epair1b inet 10.6.0.{n}/24 up
ifconfig brq addm epair1a
"""
# The recorder's program printed its layout, and took the address with `del` too; the entry is set by the driver's own
FDB = """case $2 in add) beastack-vxlan-fdb "$@" ;; del) beastack-vxlan-fdb "$1" del "$3" ;; esac
rc=$?
echo "sizeof(ifvxlancmd)=%d sizeof(ifdrv)=%d SIOCSDRVSPEC=0x%08x off mac=%d sa=%d"
exit $rc
"""
VARIES = [
    (r"(Vlan0 \S+) (1200|1199) ", r"\1 N "),
    # counters
    (r"(ftable_lock_upgrade_failed: )\d", r"\1N"),
]


@pytest.fixture
def pair(make_host: Callable[..., Host]) -> dict[str, Host]:
    hosts = {f"hv{n}": make_host(f"hv{n}", f"vtnet1={PROVIDER}") for n in (1, 2)}
    for n, host in enumerate(hosts.values(), 1):
        host.ok(SETUP.format(n=n))
    until(lambda: hosts["hv1"].run("ping -c 1 -t 1 192.168.50.2")[1] == 0, "the hosts to see each other")
    return hosts


def _run(host: Host) -> Run:
    program = host.directory / "vxlan-fdb"
    sizes = (ioctl.IFVXLANCMD.size, ioctl.IFDRV.size, ioctl.SIOCSDRVSPEC, ioctl.MAC_AT, ioctl.SOCKADDR_AT)
    program.write_text("#!/bin/sh\n" + FDB % sizes)
    program.chmod(0o755)
    return lambda command: host.run(command.replace("/root/vxlan-fdb", str(program)))


def test_07(pair: dict[str, Host]) -> None:
    report = replay.on_hosts("07-vxlan", {name: _run(host) for name, host in pair.items()}, VARIES)
    replay.REPORT.append(report)
    assert not report.differences, "\n".join(report.differences)


RELAY = """import socket, sys
own, *peers = sys.argv[1:]
here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
here.bind((own, 14789))
print("ready", flush=True)
while True:
    data = here.recv(65535)
    for peer in peers:
        here.sendto(data, (peer, 4789))
"""


def test_flooding_by_a_process_and_unicast_by_static_entries(pair: dict[str, Host]) -> None:
    """What the driver does without multicast: unknown frames to a process of ours, known ones straight."""
    relays = []
    for n, host in enumerate(pair.values(), 1):
        script = host.directory / "relay.py"
        script.write_text(RELAY)
        own, peer = f"192.168.50.{n}", f"192.168.50.{3 - n}"
        host.ok(
            f"ifconfig vxlan create vxlanid 7 vxlanlocal {own} vxlanremote {own} vxlanremoteport 14789 -vxlanlearn "
            f"name vx7 mtu 1500 up; ifconfig brq addm vx7"
        )
        pid = str(json.loads((host.directory / "engine.json").read_text())["pid"])
        # not in the host's PID namespace: so nsenter becomes the relay itself, whose end can be waited for
        command = ["nsenter", "-t", pid, "-n", "--", sys.executable, str(script), own, peer]
        relays.append(subprocess.Popen(command, stdout=subprocess.PIPE))
    try:
        for relay in relays:
            assert relay.stdout is not None
            assert relay.stdout.readline() == b"ready\n"
        pair["hv1"].ok("jexec vm ping -c 1 -t 3 10.6.0.2")
        for n, host in enumerate(pair.values(), 1):
            mac, peer = f"fa:16:3e:00:01:0{3 - n}", f"192.168.50.{3 - n}"
            host.ok(f"beastack-vxlan-fdb vx7 add {mac} {peer}")
    finally:
        for relay in relays:
            relay.kill()
            relay.wait(10)
    pair["hv1"].ok("jexec vm ping -c 1 -t 3 10.6.0.2")
    for host in pair.values():
        host.ok("jexec vm arp -ad")
    assert pair["hv1"].run("jexec vm ping -c 1 -t 1 10.6.0.2")[1] == 2, "nobody carries ARP now"


# --- one tenant network, three ways of tunnelling, and what must pass ------------------------------------------------

TUNNELS = {
    "group": "ifconfig vxlan create vxlanid 42 vxlanlocal {own} vxlangroup 239.1.1.42 vxlandev vtnet1 name t0; "
    "ifconfig t0 mtu 1500 up",
    "unicast": "ifconfig vxlan create vxlanid 42 vxlanlocal {own} vxlanremote {peer} name t0 mtu 1500 up",
    "gif": "ifconfig gif create name t0; ifconfig t0 tunnel {own} {peer} mtu 1500 up",
}
SECOND = """
ifconfig epair2 create; ifconfig epair2a up; ifconfig brq addm epair2a
jail -c name=vm2 path=/ vnet persist allow.raw_sockets; ifconfig epair2b vnet vm2
jexec vm2 ifconfig epair2b ether fa:16:3e:00:02:0{n}; jexec vm2 ifconfig epair2b inet 10.6.0.{more}/24 up
"""


@pytest.mark.parametrize("kind", TUNNELS)
def test_everybody_reaches_everybody(pair: dict[str, Host], kind: str) -> None:
    """Four machines on two hosts: the same reachability as on one wire, whole frames and fragments as well."""
    for n, host in enumerate(pair.values(), 1):
        own, peer = f"192.168.50.{n}", f"192.168.50.{3 - n}"
        host.ok(SECOND.format(n=n, more=10 + n) + TUNNELS[kind].format(own=own, peer=peer) + "; ifconfig brq addm t0")
    machines = [("hv1", "vm", 1), ("hv1", "vm2", 11), ("hv2", "vm", 2), ("hv2", "vm2", 12)]
    for name, jail, own_end in machines:
        others = [str(end) for _host, _jail, end in machines if end != own_end]
        for end in others:
            pair[name].ok(f"jexec {jail} ping -D -s 1472 -c 1 -t 5 10.6.0.{end}")
        pair[name].ok(f"jexec {jail} ping -s 4000 -c 1 -t 5 10.6.0.{others[-1]}")
    # each host knows behind which port the other's machines are
    table = pair["hv1"].ok("ifconfig brq addr")
    assert "fa:16:3e:00:01:02 Vlan0 t0" in table
    assert "fa:16:3e:00:02:01 Vlan0 epair2a" in table
    # the same wire cut: only what is on one host is left
    pair["hv2"].ok("ifconfig t0 down")
    assert pair["hv1"].run("jexec vm ping -c 1 -t 1 10.6.0.2")[1] == 2
    pair["hv1"].ok("jexec vm ping -c 1 -t 5 10.6.0.11")
    pair["hv2"].ok("ifconfig t0 up")
    pair["hv1"].ok("jexec vm ping -c 1 -t 5 10.6.0.2")


def test_an_address_is_learnt_and_moves(pair: dict[str, Host]) -> None:
    """A machine that comes up on the other host is found there: what a frame's source says counts, but not over a
    static entry."""
    hv1, hv2 = pair["hv1"], pair["hv2"]
    for n, host in enumerate((hv1, hv2), 1):
        host.ok(TUNNELS["group"].format(own=f"192.168.50.{n}") + "; ifconfig brq addm t0")
    hv1.ok("jexec vm ping -c 1 -t 5 10.6.0.2")
    assert "net.link.vxlan.0.ftable.count: 1" in hv1.ok("sysctl net.link.vxlan")
    hv1.ok("ifconfig t0 vxlanflush")
    assert "net.link.vxlan.0.ftable.count: 0" in hv1.ok("sysctl net.link.vxlan")
    # a static entry to where nobody is: frames for the machine go there and are lost, whatever is learnt
    hv1.ok("beastack-vxlan-fdb t0 add fa:16:3e:00:01:02 192.168.50.77; ifconfig brq flush")
    hv1.ok("jexec vm arp -s 10.6.0.2 fa:16:3e:00:01:02")
    assert hv1.run("jexec vm ping -c 1 -t 1 10.6.0.2")[1] == 2
    hv1.ok("beastack-vxlan-fdb t0 del fa:16:3e:00:01:02; jexec vm ping -c 1 -t 5 10.6.0.2")
    # many at once, whatever there was
    mac = "fa:16:3e:00:01:02"
    hv1.ok(f"ifconfig t0 vxlanflushall; beastack-vxlan-fdb t0 set {mac} 192.168.50.77 fa:16:3e:00:01:77 192.168.50.77")
    assert hv1.run("jexec vm ping -c 1 -t 1 10.6.0.2")[1] == 2
    hv1.ok(f"beastack-vxlan-fdb t0 set {mac} 192.168.50.2 fa:16:3e:00:01:77 - fa:16:3e:00:01:78 -")
    hv1.ok("jexec vm ping -c 1 -t 5 10.6.0.2")
    assert "net.link.vxlan.0.ftable.count: 1" in hv1.ok("sysctl net.link.vxlan")
    for words in ("set", f"set {mac}", f"set {mac} -  zz -"):
        assert hv1.run(f"beastack-vxlan-fdb t0 {words}")[1] == 64
    assert hv1.run(f"beastack-vxlan-fdb t9 set {mac} -") == ("vxlan-fdb: SIOCSDRVSPEC: Device not configured\n", 1)
