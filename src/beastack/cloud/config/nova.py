"""nova: the control plane's services, and nova-compute on a host."""

from beastack.cloud.config.common import PORTS, Sections, base, client_auth, database, url
from beastack.cloud.layout import Layout
from beastack.cloud.platform import programs


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
    sections["cinder"] = {"catalog_info": "volumev3::publicURL"}
    return sections


def compute(layout: Layout, secrets: dict[str, str], host: str, address: str, helper: str) -> Sections:
    """nova.conf of nova-compute on ``host``; ``helper`` is the privileged side's command."""
    sections = control(layout, secrets)
    # a compute host reaches the database through the conductor only
    for name in ("database", "api_database", "scheduler", "conductor"):
        del sections[name]
    code, variables = programs.firmware()
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
    sections["workarounds"] = {"disable_rootwrap": True}
    sections["beastack"] = {
        "instances_path": str(state / "instances"),
        "bootrom": code,
        "bootrom_vars": variables,
        "console_ports": "7000-7999",
        # nova-compute plugs taps and runs guests; wiring and filtering are the agents'
        "privsep_entries": "guests,volumes,iscsi,interfaces.ensure_tap,interfaces.destroy_interface",
    }
    for context in ("beastack_privileged", "nova_sys_admin", "vif_plug_ovs_privileged", "privsep_osbrick"):
        sections[context] = {"helper_command": helper, "thread_pool_size": 4}
    return sections


__all__ = ["PORTS", "compute", "control"]
