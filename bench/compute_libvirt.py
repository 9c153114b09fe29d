"""A second compute host of a running cloud: plain Linux, libvirtd, QEMU, and upstream's own drivers and agent.

nova-compute with ``libvirt.LibvirtDriver``, neutron-openvswitch-agent with its security groups, Debian's libvirtd and
Open vSwitch (userspace datapath, so no kernel module), all as upstream and Debian have them, in a host that
bench.linux_host makes. The cloud's neutron server gets the mechanism driver ``openvswitch`` besides ours and is started
anew.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keystoneauth1.exceptions import ConnectFailure
from openstack.exceptions import HttpException

from beastack.cloud.config import neutron, nova
from beastack.cloud.config.common import Sections, render
from beastack.cloud.layout import Layout, passwords, write_private
from beastack.cloud.supervisor import client
from bench import debs
from bench.linux_host import ROOT, HostFailed, LinuxHost

HOST = "linux1"
OVSDB = "unix:/run/openvswitch/db.sock"
# both halves of a service are root's here: no sudo between them
OURS = ("beastack", "beastack_privileged", "freebsd_bridge", "serial_console")
CONTEXTS = (
    *(context for context in neutron.CONTEXTS if context not in OURS),
    *("nova_sys_admin", "vif_plug_ovs_privileged", "privsep_osbrick"),
)
SERVER = ("neutron-periodic-workers", "neutron-rpc-server", "neutron-api")
# No user of its own, no labels, no groups of processes: the host has nothing that would give them. "file": QEMU writes
# the console's log itself, there is no virtlogd.
QEMU_CONF = """user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""
LIBVIRTD_CONF = """auth_unix_rw = "none"
host_uuid = "6e2d7d5c-37c4-4c1b-8f0b-7d2a52b1c0de"
"""


def address(layout: Layout) -> str:
    """Its address on the management network: none of the cloud's own hosts gets so far."""
    return f"100.64.{layout.index}.250"


def with_driver(ml2_conf: str) -> str:
    """ml2_conf.ini with upstream's mechanism driver besides ours."""
    return re.sub(r"(?m)^(mechanism_drivers\s*=\s*(?!.*openvswitch).*?)\s*$", r"\1,openvswitch", ml2_conf)


def _privileged(sections: Sections, config: Path) -> None:
    helper = f"{Path(sys.executable).parent / 'privsep-helper'} --config-file {config}"
    for context in CONTEXTS:
        sections[context] = {"helper_command": helper, "thread_pool_size": 4}


def nova_conf(layout: Layout, secrets: dict[str, str], config: Path, virt: str, cpu: str) -> Sections:
    """nova.conf: our own host's without what is ours; the machines as those of the other side (q35, UEFI, a screen)."""
    sections = nova.compute(layout, secrets, HOST, address(layout), "")
    for name in OURS:
        sections.pop(name, None)
    state = layout.data("hosts") / HOST / "nova"
    sections["DEFAULT"] |= {"compute_driver": "libvirt.LibvirtDriver", "state_path": str(state)}
    sections["DEFAULT"]["instances_path"] = str(state / "instances")
    sections["vnc"] |= {"server_listen": "127.0.0.1"}
    sections["libvirt"] = {"virt_type": virt, "hw_machine_type": "x86_64=q35", "cpu_mode": "host-passthrough"}
    if virt == "qemu":
        # the model and the size of the translation cache that the simulated bhyve gives its QEMU
        sections["libvirt"] |= {"cpu_mode": "custom", "cpu_models": cpu, "tb_cache_size": 128}
    sections["os_vif_ovs"] = {"ovsdb_connection": OVSDB}
    _privileged(sections, config)
    return sections


def agent_conf(layout: Layout, secrets: dict[str, str], config: Path) -> Sections:
    """neutron.conf of the Open vSwitch agent; it polls as ours does and filters with its own driver."""
    sections = neutron.agent(layout, secrets, HOST, address(layout), {}, "")
    for name in OURS:
        sections.pop(name, None)
    options = sections["DEFAULT"]
    sections["DEFAULT"] = {key: options[key] for key in ("use_stderr", "debug", "transport_url", "host")}
    sections["DEFAULT"]["state_path"] = str(layout.data("hosts") / HOST / "neutron")
    sections["ovs"] = {"ovsdb_connection": OVSDB, "datapath_type": "netdev", "bridge_mappings": "physnet1:br-em0"}
    sections["securitygroup"] = {"firewall_driver": "openvswitch", "enable_security_group": True}
    _privileged(sections, config)
    return sections


class Compute:
    """The host, from start to stop. ``virt``: qemu (software emulation) or kvm; ``cpu``: QEMU's processor model."""

    def __init__(self, layout: Layout, admin: Any, virt: str, cpu: str) -> None:
        self.layout, self.admin, self.virt, self.cpu = layout, admin, virt, cpu
        self.packages = debs.unpacked()
        self.host = LinuxHost(HOST, layout.run_dir / "log" / HOST, layout.run_dir, self.packages)
        self.log = self.host.log("nova-compute")

    def start(self) -> None:
        """Everything, until nova and neutron know the host. Raises HostFailed."""
        self._server()
        self.host.start()
        self.host.card("mgmt0", self.layout.management_bridge, f"{address(self.layout)}/24")
        self.host.card("em0", self.layout.provider_bridge)
        self._configuration()
        self._switch()
        self._libvirtd()
        self._openstack()

    def stop(self) -> None:
        """End it and its guests."""
        self.host.stop()

    def _server(self) -> None:
        """Neutron's server with the mechanism driver."""
        path = self.layout.etc("neutron") / "ml2_conf.ini"
        write_private(path, with_driver(path.read_text()))
        for name in SERVER:
            client.ask(self.layout.run_dir, {"do": "stop", "name": name})
        for name in reversed(SERVER):
            client.ask(self.layout.run_dir, {"do": "start", "name": name})

    def _configuration(self) -> None:
        secrets, etc = passwords(self.layout), self.layout.etc(HOST)
        compute, agent = etc / "nova.conf", etc / "neutron.conf"
        write_private(compute, render(nova_conf(self.layout, secrets, compute, self.virt, self.cpu)))
        write_private(agent, render(agent_conf(self.layout, secrets, agent)))
        for name, text in (("qemu.conf", QEMU_CONF), ("libvirtd.conf", LIBVIRTD_CONF)):
            write_private(etc / name, text)
        modules = etc / "python"
        modules.mkdir(exist_ok=True)
        found = self.packages / "usr/lib/python3/dist-packages"
        for module in (found / "libvirt.py", *found.glob("libvirtmod.*.so")):
            shutil.copy(module, modules)
        for folder in ("nova/instances", "neutron"):
            (self.layout.data("hosts") / HOST / folder).mkdir(parents=True, exist_ok=True)

    def _switch(self) -> None:
        """Open vSwitch with the bridge of the provider network, and no kernel module."""
        host = self.host
        host.run("mkdir", "-p", "/run/openvswitch", "/var/log/openvswitch", "/var/lib/openvswitch")
        host.run("ovsdb-tool", "create", "/run/openvswitch/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
        host.launch("ovsdb-server", ["ovsdb-server", f"--remote=p{OVSDB}", "/run/openvswitch/conf.db"])
        host.until("ovsdb-server", "its socket", lambda: host.exists(OVSDB.removeprefix("unix:")))
        host.run("ovs-vsctl", "--no-wait", "init")
        host.launch("ovs-vswitchd", ["/usr/lib/openvswitch-switch/ovs-vswitchd", "--disable-system", OVSDB])
        for bridge in ("br-int", "br-em0"):
            host.run("ovs-vsctl", "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev")
        host.run("ovs-vsctl", "add-port", "br-em0", "em0")

    def _libvirtd(self) -> None:
        host, etc = self.host, self.layout.etc(HOST)
        # its package's script makes the user; libvirtd looks for it whatever its configuration says
        host.run("useradd", "--system", "--user-group", "--no-create-home", "libvirt-qemu")
        host.run("mkdir", "-p", "/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt")
        for name in ("qemu.conf", "libvirtd.conf"):
            host.run("cp", str(etc / name), f"/etc/libvirt/{name}")
        host.launch("libvirtd", ["libvirtd"])
        host.until("libvirtd", "its socket", lambda: host.exists("/run/libvirt/libvirt-sock"))

    def _openstack(self) -> None:
        """The agent and nova-compute, until the servers count them as alive and know where the host is."""
        etc, host = self.layout.etc(HOST), self.host
        agent = str(Path(sys.executable).parent / "neutron-openvswitch-agent")
        quiet = {"PYTHONWARNINGS": "ignore"}
        host.launch("openvswitch-agent", [agent, "--config-file", str(etc / "neutron.conf")], quiet)
        command = [sys.executable, "-m", "bench.libvirt_nova", "--config-file", str(etc / "nova.conf")]
        host.launch("nova-compute", command, {**quiet, "PYTHONPATH": f"{etc / 'python'}:{ROOT}"})
        host.until("openvswitch-agent", "neutron to hear of it", self._known(self._agent))
        host.until("nova-compute", "nova to hear of it", self._known(self._service))
        nova_manage = [str(Path(sys.executable).parent / "nova-manage"), "--config-file"]
        nova_manage += [str(self.layout.etc("nova") / "nova.conf"), "cell_v2", "discover_hosts"]
        done = subprocess.run(nova_manage, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise HostFailed(f"{' '.join(nova_manage)}: {done.stderr[-2000:] or done.stdout}")
        host.until("nova-compute", "nova to map it", self._known(self._hypervisor))

    def _agent(self) -> bool:
        return any(each.is_alive for each in self.admin.network.agents(host=HOST))

    def _service(self) -> bool:
        return any(each.host == HOST and each.state == "up" for each in self.admin.compute.services())

    def _hypervisor(self) -> bool:
        return any(each.name == HOST for each in self.admin.compute.hypervisors())

    @staticmethod
    def _known(ask: Callable[[], bool]) -> Callable[[], bool]:
        """The servers that are started anew do not answer at once."""

        def known() -> bool:
            try:
                return ask()
            except (ConnectFailure, HttpException):
                return False

        return known


__all__ = ["HOST", "Compute", "HostFailed"]
