"""neutron: the server's processes, and the agents on a host."""

from pathlib import Path

from beastack.cloud.config.common import PORTS, Sections, base, client_auth
from beastack.cloud.description import Cluster
from beastack.cloud.layout import Layout

# What projects' networks get; neutron keeps a row for each.
VNIS = "10001:12000"
CONTEXTS = (
    "beastack_privileged",
    "privsep",
    "privsep_dhcp_release",
    "privsep_ovs_vsctl",
    "privsep_namespace",
    "privsep_conntrack",
    "privsep_link",
)

# Open vSwitch's database on a host, by its port net/openvswitch.
OVSDB = "/var/run/openvswitch/db.sock"
# DHCP servers of one network, each on another host, where there are as many.
DHCP_SERVERS = 2


def server(layout: Layout, secrets: dict[str, str], cluster: Cluster) -> Sections:
    """neutron.conf of API, RPC server and periodic workers."""
    network_hosts = sum("network" in host.roles for host in cluster.host)
    sections = base(layout, secrets, "neutron", "neutron")
    sections["DEFAULT"] |= {
        "core_plugin": "ml2",
        # with Open vSwitch nobody has tried upstream's limits: the API has no QoS there (decisions/0007)
        "service_plugins": "router,port_forwarding" + (",beastack_qos" if cluster.switch == "if_bridge" else ""),
        "auth_strategy": "keystone",
        "state_path": str(layout.data("neutron")),
        "api_workers": 1,
        "rpc_workers": 1,
        "rpc_state_report_workers": 0,
        "notify_nova_on_port_status_changes": True,
        "notify_nova_on_port_data_changes": True,
        "send_events_interval": 1,
        "dhcp_agents_per_network": min(DHCP_SERVERS, network_hosts),
        "enable_dvr": False,
        "l3_ha": False,
        "agent_down_time": 75,
        # routers of a host that is gone move to another one
        "allow_automatic_l3agent_failover": True,
    }
    sections["nova"] = client_auth(layout, secrets, "nova")
    sections["placement"] = client_auth(layout, secrets, "placement")
    return sections


def ml2(cluster: Cluster) -> Sections:
    """ml2_conf.ini: with Open vSwitch there are no tunnels, and projects' networks are VLANs."""
    tunnels = cluster.switch == "if_bridge"
    names = [network.name for network in cluster.physical_network]
    vlans = [f"{network.name}:{network.vlans}" for network in cluster.physical_network if network.vlans]
    return {
        "ml2": {
            "type_drivers": "flat,vlan,vxlan,local" if tunnels else "flat,vlan,local",
            "project_network_types": "vxlan" if tunnels else "vlan",
            "mechanism_drivers": "freebsdbridge,l2population" if tunnels else "openvswitch",
            "extension_drivers": "port_security,qos" if tunnels else "port_security",
        },
        "ml2_type_flat": {"flat_networks": ",".join(names)},
        "ml2_type_vlan": {"network_vlan_ranges": ",".join(vlans)},
        "ml2_type_vxlan": {"vni_ranges": VNIS},
        "securitygroup": {"enable_security_group": True},
    }


def metadata_socket(layout: Layout, host: str) -> Path:
    """Where the metadata agent of a host listens."""
    return layout.run_dir / "run" / f"metadata-{host}.sock"


def agent(
    layout: Layout,
    secrets: dict[str, str],
    host: str,
    address: str,
    cards: dict[str, str],
    helper: str,
    switch: str = "if_bridge",
) -> Sections:
    """neutron.conf of the agents on ``host``; ``address``: of its tunnels; ``cards``: physical network -> card."""
    sections = base(layout, secrets, "neutron", "neutron")
    del sections["database"]
    state = layout.data("hosts") / host / "neutron"
    socket = str(metadata_socket(layout, host))
    sections["DEFAULT"] |= {
        "host": host,
        "state_path": str(state),
        "interface_driver": "beastack",
        "dhcp_driver": "beastack.neutron.dhcp.driver.JailDnsmasq",
        "dhcp_confs": str(state / "dhcp"),
        "enable_isolated_metadata": True,
        "force_metadata": True,
        "dhcp_broadcast_reply": False,
        "num_sync_threads": 4,
        "resync_interval": 5,
        "metadata_proxy_socket": socket,
        "metadata_proxy_shared_secret": secrets["metadata"],
        "metadata_workers": 0,
        "nova_metadata_host": layout.address,
        "nova_metadata_port": PORTS["metadata"],
    }
    sections["agent"] = {"root_helper": "", "report_interval": 30, "polling_interval": 1}
    sections["securitygroup"] = {"firewall_driver": "beastack_pf", "enable_security_group": True}
    sections["freebsd_bridge"] = {
        "physical_interface_mappings": ",".join(f"{network}:{card}" for network, card in cards.items()),
        "tunnel_address": address,
    }
    sections["beastack"] = {
        "dhcp_path": str(state / "dhcp"),
        "proxy_path": str(state / "ns-metadata-proxy"),
        "metadata_socket": socket,
        "physical_interfaces": ",".join(cards.values()),
        "tunnel_address": address,
        "privsep_entries": "interfaces,uplinks,pf,guard,rates,jails,dhcp,routers,router_daemons",
    }
    if switch == "openvswitch":
        _openvswitch(sections, cards)
    for context in CONTEXTS:
        sections[context] = {"helper_command": helper, "thread_pool_size": 4}
    return sections


def _openvswitch(sections: Sections, cards: dict[str, str]) -> None:
    """The same with Open vSwitch's agent in the place of the bridge agent (decisions/0006)."""
    del sections["freebsd_bridge"]
    # the monitor of minimize_polling is looked for in /proc
    sections["agent"] |= {"minimize_polling": False, "tunnel_types": ""}
    sections["ovs"] = {
        "datapath_type": "netdev",
        "bridge_mappings": ",".join(f"{network}:br-{card}" for network, card in cards.items()),
        "ovsdb_connection": f"unix:{OVSDB}",
        # a port's flows are one bundle: all of them or none
        "openflow_processed_per_port": True,
        # otherwise the host's full name is asked of a name server at every start
        "resource_provider_default_hypervisor": sections["DEFAULT"]["host"],
    }
    sections["securitygroup"]["firewall_driver"] = "beastack_ovs"
    sections["beastack"] |= {
        "switch": "openvswitch",
        "tunnel_address": "",
        "privsep_entries": "interfaces,jails,dhcp,routers,router_daemons,ovs",
    }
