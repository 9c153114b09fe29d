"""The privileged side on a simulated host: upstream's client, our helper, real jails, and a real dnsmasq in one."""

import sys
import textwrap
from pathlib import Path

import pytest

from .conftest import Host

pytestmark = pytest.mark.root

NET = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
PORT = "aaaaaaaa-bbcc-4c55-9d1b-0f7a8d7f2f11"
HELPER = Path(sys.executable).with_name("beastack-privsep-helper")
SERVE = f"""
    import sys
    from oslo_config import cfg
    from beastack.privsep import dhcp, jails
    cfg.CONF(["--config-file", sys.argv[1]], project="test")
    jails.ensure_dhcp_jail("{NET}")
    jails.ensure_jail_port("{NET}", "{PORT}", "fa:16:3e:00:00:02", 1450)
    jails.set_jail_addresses("{NET}", "{PORT}", ["10.8.0.2/24", "169.254.169.254/32"])
    ranges = [{{"subnet_id": "{PORT}", "cidr": "10.8.0.0/24"}}]
    more = ("ns-{PORT[:11]}", ranges, 86400, 256, 1450, 0, 0, [], "openstacklocal", False, False, "")
    print(dhcp.start_dnsmasq("{NET}", None, *more), dhcp.start_dnsmasq("{NET}", None, *more))
    times = dict.fromkeys(("http_request", "connect", "client", "server", "http_keep_alive"), 30)
    print(dhcp.start_metadata_proxy("{NET}", False, times, None))
    print(dhcp.dnsmasq_pid("{NET}"), dhcp.metadata_proxy_pid("{NET}"))
"""
END = f"""
    import sys
    from oslo_config import cfg
    from beastack.privsep import dhcp, jails
    cfg.CONF(["--config-file", sys.argv[1]], project="test")
    print(dhcp.stop_dnsmasq("{NET}"), dhcp.stop_metadata_proxy("{NET}"))
    jails.remove_dhcp_jail("{NET}")
    print(jails.list_dhcp_jails())
"""
CONFINED = """
    import sys
    from oslo_config import cfg
    from beastack.privsep import checks, context, interfaces
    cfg.CONF(["--config-file", sys.argv[1]], project="test")
    try:
        interfaces.ensure_bridge("eth0", "x")
    except checks.Refused as e:
        print("refused:", e)
    print(open(sys.argv[2]).read())
"""


@pytest.fixture
def service(host: Host, tmp_path: Path) -> Path:
    given = tmp_path / "dhcp" / NET
    given.mkdir(parents=True)
    for folder in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        folder.chmod(0o711)
    for name in ("addn_hosts", "opts", "leases"):
        (given / name).write_text("")
    (given / "host").write_text("fa:16:3e:00:00:05,host-10-8-0-5.openstacklocal,10.8.0.5\n")
    return tmp_path


def python(host: Host, folder: Path, code: str, *arguments: str, section: str = "") -> str:
    (folder / "x.conf").write_text(
        f"[beastack]\nprivsep_entries = jails,dhcp,interfaces\naudit_log = {folder}/audit.log\n"
        f"dhcp_path = {folder}/dhcp\nproxy_path = {folder}/own\nmetadata_socket = {folder}/metadata.sock\n"
        f"confined_path = {folder}/roots\nproxy_user = nobody\n"
        f"[beastack_privileged]\nhelper_command = {HELPER} --config-file {folder}/x.conf\n{section}\n"
    )
    (folder / "code.py").write_text(textwrap.dedent(code))
    return host.ok(f"{sys.executable} -W ignore {folder}/code.py {folder}/x.conf {' '.join(arguments)}")


def test_dnsmasq_and_the_proxy_serve_from_a_jail_without_root(host: Host, service: Path) -> None:
    said = python(host, service, SERVE).splitlines()
    assert said[-3:-1] == ["started reloaded", "started"], said
    for pid in said[-1].split():
        assert host.ok(f"/bin/ps -o user= -p {pid}").strip() == "nobody"
    assert "10.8.0.2" in host.ok(f"jexec qdhcp-{NET} ifconfig ns-{PORT[:11]}")
    own = service / "own" / f"{NET}.dnsmasq"
    assert (own / "host").read_text() == (service / "dhcp" / NET / "host").read_text()
    assert (own / "leases").exists()
    assert python(host, service, END).splitlines()[-2:] == ["True True", "()"]
    calls = (service / "audit.log").read_text().splitlines()
    assert len(calls) == 12
    assert all(" program=" in line and " after " in line for line in calls)


def test_a_context_of_files_only_is_in_a_jail(host: Host, service: Path) -> None:
    said = python(host, service, CONFINED, f"{service}/audit.log", section="capabilities = CAP_CHOWN")
    assert "refused: bridge: 'eth0'" in said
    assert "Refused bridge: 'eth0'" in said
    shown = host.ok("jls -j bspriv-beastack_privileged -n")
    for parameter in ("path=/", "devfs_ruleset=64711", "ip4=disable", "ip6=disable", "vnet=inherit"):
        assert parameter in shown.split()
    denied = ("reserved_ports", "set_hostname", "raw_sockets", "mount", "chflags")
    assert (
        host.ok(f"jls -j bspriv-beastack_privileged {' '.join(f'allow.{d}' for d in denied)}").split() == ["false"] * 5
    )
    # its daemon ended with its client; the jail stays for the next one
    host.ok("jail -r bspriv-beastack_privileged")
