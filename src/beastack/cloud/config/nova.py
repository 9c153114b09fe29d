"""nova: the control plane's services, and nova-compute on a host."""

from beastack.cloud.config.common import PORTS, Sections, base, client_auth, database, url
from beastack.cloud.description import Host
from beastack.cloud.layout import LOCKS, Layout
from beastack.cloud.platform import programs

CONSOLE_PORT = 6079
# What nova-compute may have done as root besides, with Open vSwitch.
PLUGGING = "ovs.ovs_plug,ovs.ovs_unplug"


def console_tls(layout: Layout, name: str) -> tuple[str, str, str]:
    """Certificate, key and authority of a host's console service, or of the proxy (cloud/certificates.py)."""
    where = layout.data("certificates")
    return str(where / f"{name}.pem"), str(where / f"{name}.key"), str(where / "ca.pem")


def control(layout: Layout, secrets: dict[str, str]) -> Sections:
    """nova.conf of API, metadata, scheduler and conductor."""
    sections = base(layout, secrets, "nova_cell1", "nova")
    sections["DEFAULT"] |= {
        "my_ip": layout.address,
        "state_path": str(layout.data("nova")),
        "enabled_apis": "osapi_compute,metadata",
        "metadata_workers": 1,
        "osapi_compute_workers": 1,
        # the smallest cloud has one host
        "allow_resize_to_same_host": True,
        # the console proxies' own default is eventlet (plugpoints.md, section 2)
        "concurrency_backend": "threading",
    }
    sections["api_database"] = {"connection": database(layout, secrets, "nova_api"), "max_pool_size": 5}
    sections["api"] = {"auth_strategy": "keystone"}
    sections["conductor"] = {"workers": 1}
    sections["scheduler"] = {"workers": 1, "discover_hosts_in_cells_interval": 5}
    sections["placement"] = client_auth(layout, secrets, "placement")
    sections["glance"] = {"api_servers": url(layout, "glance")}
    sections["neutron"] = {
        **client_auth(layout, secrets, "neutron"),
        "service_metadata_proxy": True,
        "metadata_proxy_shared_secret": secrets["metadata"],
    }
    cert, key, authority = console_tls(layout, "proxy")
    sections["serial_console"] = {
        "serialproxy_host": layout.address,
        "serialproxy_port": PORTS["nova-serialproxy"],
    }
    sections["vnc"] = {
        "novncproxy_host": layout.address,
        "novncproxy_port": PORTS["nova-novncproxy"],
        # nothing but a host with a certificate of the cloud's shows a screen
        "auth_schemes": "vencrypt",
        "vencrypt_client_cert": cert,
        "vencrypt_client_key": key,
        "vencrypt_ca_certs": authority,
    }
    sections["cinder"] = {"catalog_info": "volumev3::publicURL"}
    return sections


def compute(
    layout: Layout,
    secrets: dict[str, str],
    host: str,
    address: str,
    helper: str,
    member: Host | None = None,
    switch: str = "if_bridge",
) -> Sections:
    """nova.conf of nova-compute on ``host``; ``helper``: the privileged side's command, ``member``: what the
    description says of it.
    """
    sections = control(layout, secrets)
    # a compute host reaches the database through the conductor only
    for name in ("database", "api_database", "scheduler", "conductor"):
        del sections[name]
    code, variables = programs.firmware()
    libvirt = member is not None and member.hypervisor == "libvirt"
    state = layout.data("hosts") / host / "nova"
    sections["DEFAULT"] |= {
        "host": host,
        "my_ip": address,
        "compute_driver": "beastack.BhyveDriver",
        "state_path": str(state),
        "instances_path": str(state / "instances"),
        "force_config_drive": False,
        "vif_plugging_timeout": 120,
        "vif_plugging_is_fatal": True,
        "resume_guests_state_on_host_boot": True,
        "reserved_host_memory_mb": 256,
        "sync_power_state_interval": 60,
    }
    cert, key, authority = console_tls(layout, host)
    sections["serial_console"] = {"enabled": True, "base_url": f"ws://{layout.address}:{PORTS['nova-serialproxy']}/"}
    sections["vnc"] = {"enabled": True, "novncproxy_base_url": f"{url(layout, 'nova-novncproxy')}/vnc_lite.html"}
    sections["workarounds"] = {"disable_rootwrap": True}
    sections["beastack"] = {
        "instances_path": str(state / "instances"),
        "bootrom": code,
        "bootrom_vars": variables,
        "console_ports": "7000-7999",
        "console_address": address,
        "console_port": CONSOLE_PORT,
        "console_proxies": layout.address,
        "console_cert": cert,
        "console_key": key,
        "console_ca": authority,
        "screens_path": str(LOCKS / "screens"),
        **({"zfs_root": member.zfs} if member and member.zfs else {}),
        **({"hypervisor": "libvirt"} if libvirt else {}),
        # nova-compute plugs taps and runs guests; wiring and filtering are the agents'
        "privsep_entries": "guests,volumes,iscsi,interfaces.ensure_tap,interfaces.destroy_interface"
        + (",held_taps,lines" if libvirt else ""),
    }
    if switch == "openvswitch":
        sections["beastack"]["switch"] = switch
        sections["beastack"]["privsep_entries"] = f"{sections['beastack']['privsep_entries']},{PLUGGING}"
    for context in ("beastack_privileged", "nova_sys_admin", "vif_plug_ovs_privileged", "privsep_osbrick"):
        sections[context] = {"helper_command": helper, "thread_pool_size": 4}
    return sections


__all__ = ["PORTS", "compute", "control"]
