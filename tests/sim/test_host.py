"""The life of a simulated host: frames that really arrive, processes that really end, nothing left behind."""

import json
import os
import signal
import subprocess
from collections.abc import Callable

import psutil
import pytest

from .conftest import MANAGEMENT, OCTET, PROVIDER, Host, sim, until

pytestmark = pytest.mark.root

TWO_JAILS = """
ifconfig bridge create name brq up
for n in 1 2; do
  ifconfig epair create name tapvm$n
  jail -c name=vm$n path=/ host.hostname=vm$n vnet persist
  ifconfig epair$((n - 1))b vnet vm$n
  jexec vm$n ifconfig epair$((n - 1))b inet 10.5.0.$n/24 up
  ifconfig tapvm$n up
  ifconfig brq addm tapvm$n
done
"""


def _links() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def test_ping_through_a_bridge_between_two_jails(host: Host) -> None:
    host.ok(TWO_JAILS)
    host.ok("jexec vm1 ping -c 2 -t 5 10.5.0.2")
    table = host.ok("ifconfig brq addr")
    assert len(table.splitlines()) == 2
    host.ok("ifconfig tapvm2 down")
    assert host.run("jexec vm1 ping -c 1 -t 1 10.5.0.2")[1] != 0


def test_private_members_do_not_meet(host: Host) -> None:
    host.ok(TWO_JAILS + "ifconfig brq private tapvm1 private tapvm2")
    assert host.run("jexec vm1 ping -c 1 -t 1 10.5.0.2")[1] != 0


def test_a_limit_of_addresses_stops_a_forged_source(host: Host) -> None:
    host.ok(TWO_JAILS)
    mac = host.ok("jexec vm1 ifconfig epair0b").split("ether ")[1].split()[0]
    host.ok(f"ifconfig brq flushall static tapvm1 {mac} ifmaxaddr tapvm1 1")
    host.ok("jexec vm1 ping -c 1 -t 3 10.5.0.2")
    host.ok("jexec vm1 ifconfig epair0b ether fa:16:3e:66:66:66")
    host.ok("jexec vm1 arp -ad")
    assert host.run("jexec vm1 ping -c 1 -t 1 10.5.0.2")[1] != 0


def test_em0_is_a_cable_into_the_provider_network(host: Host) -> None:
    host.ok(TWO_JAILS)
    host.ok(f"ifconfig brq addm em0; jexec vm1 ifconfig epair0b inet 198.18.{OCTET}.50/24")
    host.ok(f"jexec vm1 ping -c 1 -t 3 198.18.{OCTET}.1")
    done = subprocess.run(["ping", "-c", "1", "-w", "3", f"198.18.{OCTET}.50"], capture_output=True, timeout=10)
    assert done.returncode == 0
    done = subprocess.run(["ping", "-c", "1", "-w", "3", f"100.64.{OCTET}.11"], capture_output=True, timeout=10)
    assert done.returncode == 0


def test_bulk_tcp_and_an_address_on_the_bridge(host: Host) -> None:
    host.ok(TWO_JAILS + "ifconfig brq inet 10.5.0.254/24")
    host.ok("ping -c 1 -t 3 10.5.0.1; jexec vm2 ping -c 1 -t 3 10.5.0.254")
    program = (
        "import socket,threading\n"
        "s=socket.create_server(('10.5.0.254',5001))\n"
        "c,_=s.accept(); n=0\n"
        "while d:=c.recv(1<<20): n+=len(d)\n"
        "print(n)\n"
    )
    send = "import socket; c=socket.create_connection(('10.5.0.254',5001),5); c.sendall(bytes(50<<20))"
    out = host.ok(f'python3 -c "{program}" & sleep 0.5; jexec vm1 python3 -c "{send}"; wait')
    assert out.strip() == str(50 << 20)


def test_ipv6_between_jails(host: Host) -> None:
    host.ok(TWO_JAILS)
    for n in (1, 2):
        host.ok(f"jexec vm{n} ifconfig epair{n - 1}b inet6 2001:db8::{n}/64")
    host.ok("jexec vm1 ping -6 -c 1 -t 3 2001:db8::2")
    assert "2001:db8::2" in host.ok("jexec vm1 ndp -an")


def test_routing_by_a_jail(host: Host) -> None:
    host.ok(TWO_JAILS)
    host.ok("jexec vm1 ifconfig lo0 127.0.0.1/8 up; jexec vm1 ifconfig lo0 inet 10.77.0.1/32 alias")
    host.ok("jexec vm2 route -q add 10.77.0.0/16 10.5.0.1")
    host.ok("jexec vm2 ping -c 1 -t 3 10.77.0.1")
    assert "10.77.0.0/16       10.5.0.1" in host.ok("jexec vm2 netstat -rn -f inet")
    # a static route outlives its interface's going down and up
    host.ok("jexec vm2 ifconfig epair1b down; jexec vm2 ifconfig epair1b up")
    host.ok("jexec vm2 ping -c 1 -t 3 10.77.0.1")
    host.ok("jexec vm2 route delete 10.77.0.0/16")
    assert host.run("jexec vm2 route -n get 10.77.0.1")[1] == 1


def test_processes_of_a_jail_end_with_it(host: Host) -> None:
    host.ok("jail -c name=t3 path=/ vnet persist")
    pidfile = host.directory / "t3.pid"
    host.ok(f"jexec t3 daemon -f -p {pidfile} sleep 600")
    until(lambda: pidfile.exists() and pidfile.read_text() != "", "the pid file")
    pid = pidfile.read_text()
    host.ok(f"kill -0 {pid}")
    host.ok("jail -r t3")
    assert host.run(f"kill -0 {pid}")[1] != 0


def test_tap_is_held_by_one_process_and_goes_down_after_it(host: Host) -> None:
    host.ok("ifconfig tap9 create; ifconfig bridge create name brq; ifconfig tap9 inet 10.50.0.1/24 up")
    host.ok("ifconfig brq addm tap9 up")
    opener = (
        "import json,os,socket,sys,time\n"
        "s=socket.socket(socket.AF_UNIX)\n"
        f"s.connect('{host.directory}/engine.sock')\n"
        "s.sendall(json.dumps(dict(prog='@tap-open',argv=['tap9'],pid=os.getpid())).encode()+b'\\n')\n"
        "r=json.loads(s.makefile().read()); print(r['rc'], r['err'] or r['out'], flush=True)\n"
        "time.sleep(float(sys.argv[1]))\n"
    )
    script = host.directory / "opener.py"
    script.write_text(opener)
    host.ok(f"python3 {script} 2 > {host.directory}/held 2>&1 &")
    until(lambda: "Opened by PID" in host.ok("ifconfig tap9"), "the tap to be open")
    shown = host.ok("ifconfig tap9")
    assert "flags=1008943<UP,BROADCAST,RUNNING,PROMISC" in shown
    assert "status: active" in shown
    assert "Device busy" in host.ok(f"python3 {script} 0")
    until(lambda: "Opened by PID" not in host.ok("ifconfig tap9"), "the tap to be closed")
    shown = host.ok("ifconfig tap9")
    assert "flags=8902<BROADCAST,PROMISC,SIMPLEX,MULTICAST>" in shown
    assert "inet " not in shown
    assert "member: tap9" in host.ok("ifconfig brq")


def test_what_is_not_simulated_is_refused(host: Host) -> None:
    for command in ("ifconfig lagg create", "ifconfig em0 frobnicate", "netstat -s", "jail -f /etc/jail.conf x"):
        out, rc = host.run(command)
        assert rc != 0, command
        assert out, command


def test_start_is_idempotent_and_survives_kill(make_host: Callable[..., Host]) -> None:
    nics = (f"vtnet0={MANAGEMENT}:100.64.{OCTET}.13/24", f"em0={PROVIDER}")
    before = _links()
    host = make_host("fbsd9", *nics)
    pid = json.loads((host.directory / "engine.json").read_text())["pid"]
    make_host("fbsd9", *nics)
    assert json.loads((host.directory / "engine.json").read_text())["pid"] == pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "the end")
    make_host("fbsd9", *nics)
    assert host.ok("ifconfig -l") == "vtnet0 em0 lo0\n"
    sim("host", "stop", "--dir", str(host.directory))
    assert _links() == before
    assert not (host.directory / "bin").exists()
    assert not (host.directory / "engine.json").exists()
    assert not (host.directory / "engine.sock").exists()
    sim("host", "stop", "--stale", "--dir", str(host.directory))


def test_exec_keeps_the_exit_status(host: Host) -> None:
    done = sim("host", "exec", "--dir", str(host.directory), "--", "sh", "-c", "hostname; exit 7", check=False)
    assert (done.stdout, done.returncode) == ("fbsd1\n", 7)
    assert sim("host", "exec", "--dir", str(host.directory), "--", "nosuch", check=False).returncode == 127


def test_the_socket_is_roots_alone(host: Host) -> None:
    mode = (host.directory / "engine.sock").stat().st_mode
    assert mode & 0o777 == 0o600
