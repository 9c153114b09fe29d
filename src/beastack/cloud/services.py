"""Every OpenStack service of a cloud as a ServiceSpec, and the configuration files they read."""

import shutil
import sys
from pathlib import Path

from beastack.cloud import novnc
from beastack.cloud.config import backing, identity, neutron, nova
from beastack.cloud.config.common import PORTS, render
from beastack.cloud.description import Cluster, Host
from beastack.cloud.layout import Layout, write_private
from beastack.cloud.supervisor.spec import Family, ServiceSpec

ENV = Path(sys.prefix)
# What wires a host's ports: the service's name, what it runs, and what the agent calls itself.
AGENTS = {
    "if_bridge": ("bridge-agent", "beastack.neutron.agent.main:main", "FreeBSD bridge agent"),
    "openvswitch": ("openvswitch-agent", "beastack.neutron.ovs.main:main", "Open vSwitch agent"),
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _environment(layout: Layout, project: str, folder: str) -> dict[str, str]:
    env = {f"OS_{project.upper()}_CONFIG_DIR": str(layout.etc(folder)), "PYTHONWARNINGS": "ignore"}
    if project == "neutron":
        env["OS_NEUTRON_CONFIG_FILES"] = "neutron.conf;ml2_conf.ini"
    return env


def helper_command(config: Path) -> str:
    """What starts the privileged side; here the services are root's already."""
    return f"{ENV / 'bin' / 'beastack-privsep-helper'} --config-file {config}"


def write_configuration(layout: Layout, secrets: dict[str, str], cluster: Cluster) -> None:
    """All configuration files, 0600."""
    etc = layout.etc
    write_private(etc("keystone") / "keystone.conf", render(identity.keystone(layout, secrets)))
    write_private(etc("glance") / "glance-api.conf", render(identity.glance(layout, secrets)))
    write_private(etc("placement") / "placement.conf", render(identity.placement(layout, secrets)))
    write_private(etc("nova") / "nova.conf", render(nova.control(layout, secrets)))
    write_private(etc("neutron") / "neutron.conf", render(neutron.server(layout, secrets, cluster)))
    write_private(etc("neutron") / "ml2_conf.ini", render(neutron.ml2(cluster)))
    write_private(etc("rabbitmq") / "rabbitmq.conf", backing.rabbitmq_conf(layout, secrets))
    write_private(etc("rabbitmq") / "enabled_plugins", "[].\n")
    for project, name in (
        ("glance", "glance-api-paste.ini"),
        ("nova", "api-paste.ini"),
        ("neutron", "api-paste.ini"),
    ):
        shutil.copyfile(ENV / "etc" / project / name, etc(project) / name)
    for number, member in enumerate(cluster.host, 1):
        host, address = member.name, layout.host_address(number)
        config = etc(f"nova-{host}") / "nova.conf"
        settings = nova.compute(layout, secrets, host, address, helper_command(config), member, cluster.switch)
        write_private(config, render(settings))
        config = etc(f"neutron-{host}") / "neutron.conf"
        cards = cluster.cards(member)
        helper = helper_command(config)
        settings = neutron.agent(layout, secrets, host, address, cards, helper, cluster.switch)
        write_private(config, render(settings))
        for folder in ("nova/instances", "neutron/dhcp", "neutron/ns-metadata-proxy"):
            (layout.data("hosts") / host / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("keystone", "glance/images", "glance/staging", "glance/tasks", "nova", "neutron", "rabbitmq"):
        layout.data(folder).mkdir(parents=True, exist_ok=True)
    (layout.run_dir / "run" / "locks").mkdir(exist_ok=True)


def _wsgi(
    layout: Layout, name: str, target: str, project: str, family: Family, port: str, threads: int, prepare: str = ""
) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        kind="wsgi",
        family=family,
        target=f"{target}:application",
        prepare=prepare,
        argv=[name],
        listen=(layout.address, PORTS[port]),
        threads=threads,
        env=_environment(layout, project, project),
        log=str(layout.log(name)),
        cwd=str(layout.data(project)) if project != "placement" else "/",
    )


def placed(layout: Layout, host: str, platform: str = sys.platform) -> tuple[str | None, dict[str, str]]:
    """Where a host's services run: inside a simulated host (Linux), or here (FreeBSD), and with which environment."""
    if platform != "linux":
        return None, {"PATH": f"{ENV / 'bin'}:{PATH}"}
    folder = layout.host_dir(host)
    return str(folder / "engine.json"), {"PATH": f"{folder / 'bin'}:{ENV / 'bin'}:{PATH}", "BEASTACK_SIM": str(folder)}


def _main(
    layout: Layout,
    name: str,
    target: str,
    family: Family,
    files: list[Path],
    host: str | None = None,
    grace: float = 6.0,
    extra: tuple[str, ...] = (),
) -> ServiceSpec:
    arguments = [*(f for path in files for f in ("--config-file", str(path))), *extra]
    env = {"PYTHONWARNINGS": "ignore"}
    engine = None
    if host is not None:
        engine, more = placed(layout, host)
        env |= more
    full = f"{name}-{host}" if host else name
    return ServiceSpec(
        name=full,
        kind="main",
        family=family,
        target=target,
        argv=[name, *arguments],
        env=env,
        log=str(layout.log(full)),
        host=engine,
        grace=grace,
    )


def control_plane(layout: Layout) -> dict[str, ServiceSpec]:
    """OpenStack's services on the control plane, by name."""
    nova_conf = [layout.etc("nova") / "nova.conf"]
    neutron_conf = [layout.etc("neutron") / "neutron.conf", layout.etc("neutron") / "ml2_conf.ini"]
    web = ("--web", str(novnc.web_root()))
    specs = [
        _wsgi(layout, "keystone", "keystone.wsgi.api", "keystone", "base", "keystone", 6),
        _wsgi(layout, "glance-api", "glance.wsgi.api", "glance", "base", "glance", 4),
        _wsgi(layout, "placement-api", "placement.wsgi.api", "placement", "base", "placement", 4),
        _wsgi(layout, "nova-api", "nova.wsgi.osapi_compute", "nova", "nova", "nova", 6),
        _wsgi(layout, "nova-metadata", "nova.wsgi.metadata", "nova", "nova", "metadata", 4),
        _main(layout, "nova-conductor", "nova.cmd.conductor:main", "nova", nova_conf),
        _main(layout, "nova-scheduler", "nova.cmd.scheduler:main", "nova", nova_conf),
        _main(layout, "nova-serialproxy", "nova.cmd.serialproxy:main", "nova", nova_conf),
        _main(layout, "nova-novncproxy", "nova.cmd.novncproxy:main", "nova", nova_conf, extra=web),
        # neutron.policy.init shows its rules to a second thread before they are loaded: two first requests at the same
        # time, and one of them is refused (nova.policy.init has a lock for it)
        _wsgi(layout, "neutron-api", "neutron.wsgi.api", "neutron", "neutron", "neutron", 6, "neutron.policy:init"),
        _main(layout, "neutron-rpc-server", "neutron.cmd.server:main_rpc", "neutron", neutron_conf),
        _main(layout, "neutron-periodic-workers", "beastack.neutron.periodic:main", "neutron", neutron_conf),
    ]
    return {spec.name: spec for spec in specs}


def on_host(layout: Layout, member: Host, switch: str = "if_bridge") -> dict[str, ServiceSpec]:
    """OpenStack's services on one host, by name: what its roles and the cloud's switch ask for."""
    host = member.name
    nova_conf = [layout.etc(f"nova-{host}") / "nova.conf"]
    neutron_conf = [layout.etc(f"neutron-{host}") / "neutron.conf"]
    name, target, _ = AGENTS[switch]
    specs = [_main(layout, name, target, "neutron", neutron_conf, host)]
    if "compute" in member.roles:
        specs.append(_main(layout, "nova-compute", "nova.cmd.compute:main", "nova", nova_conf, host))
        specs.append(_main(layout, "consoles", "beastack.consoles.main:main", "base", nova_conf, host))
    if "network" in member.roles:
        specs += [
            _main(layout, "dhcp-agent", "neutron.cmd.agents.dhcp:main", "neutron", neutron_conf, host),
            _main(layout, "l3-agent", "beastack.neutron.l3.agent:main", "neutron", neutron_conf, host),
            _main(layout, "metadata-agent", "neutron.cmd.agents.metadata:main", "neutron", neutron_conf, host),
        ]
    return {spec.name: spec for spec in specs}
