"""The DHCP port's device: neutron/agent/linux/dhcp.py's DeviceManager without network namespaces.

Choosing, reserving and creating the port in Neutron is upstream's; what it does to the host by ip_lib, sysctl and
iptables is done here by the entry points of ``beastack.privsep``.
"""

import ipaddress
from typing import Any

from neutron.agent.linux import dhcp
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from oslo_log import log as logging
from oslo_utils import excutils

from beastack.privsep import jails

LOG = logging.getLogger(__name__)


class JailDeviceManager(dhcp.DeviceManager):
    """The four methods that touch the host; the rest is upstream's."""

    # what this process made the jails' default routes: network -> IP version -> gateway
    _routes: dict[tuple[str, int], str | None] = {}  # noqa: RUF012 — shared by all instances, as upstream's _interfaces

    def setup(self, network: Any, segment: Any = None) -> str:
        """The network's DHCP port in its jail, with its addresses; returns the interface's name there."""
        try:
            port = self.setup_dhcp_port(network, segment)
        except Exception:  # noqa: BLE001 — raised again below
            with excutils.save_and_reraise_exception():
                self.cleanup_stale_devices(network, dhcp_port=None)
        self._update_dhcp_port(network, port)
        name = str(self.get_interface_name(network, port))
        try:
            self.plug(network, port, name)
        except Exception:
            with excutils.save_and_reraise_exception():
                LOG.exception("Cannot plug DHCP port %s of network %s: the port is released", port.id, network.id)
                self.unplug(name, network)
                self.plugin.release_dhcp_port(network.id, port.device_id)
        jails.set_jail_addresses(network.id, port.id, self._addresses(network, port))
        self._forget_routes(network.id)
        self._set_default_route(network, name)
        self.cleanup_stale_devices(network, port)
        return name

    def _addresses(self, network: Any, port: Any) -> list[str]:
        found = [f"{f.ip_address}/{ipaddress.ip_network(f.subnet.cidr).prefixlen}" for f in port.fixed_ips]
        if self.conf.force_metadata or self.conf.enable_isolated_metadata:
            found.append(constants.METADATA_CIDR)
            if any(s.ip_version == constants.IP_VERSION_6 for s in network.subnets):
                found.append(constants.METADATA_V6_CIDR)
        return found

    def _set_default_route_ip_version(self, network: Any, device_name: str, ip_version: int) -> None:
        """The first subnet's gateway that can be one. It only serves dnsmasq's own queries to other servers.

        The gateway of a subnet in which the port has no address cannot be reached.
        """
        ours = {
            fixed.subnet_id
            for port in network.ports
            if self.driver.get_device_name(port) == device_name
            for fixed in port.fixed_ips
        }
        wanted = next((g for s in network.subnets if s.id in ours and (g := _gateway(s, ip_version))), None)
        key = (network.id, ip_version)
        if self._routes.get(key, "") == wanted:
            return
        jails.set_jail_default_route(network.id, wanted, ip_version)
        self._routes[key] = wanted

    def _forget_routes(self, network_id: str) -> None:
        for version in (constants.IP_VERSION_4, constants.IP_VERSION_6):
            self._routes.pop((network_id, version), None)

    def cleanup_stale_devices(self, network: Any, dhcp_port: Any) -> None:
        """Remove the jail's ports that are not the network's or are bound to another host."""
        ours = {
            self.driver.get_device_name(port)
            for port in network.ports
            if port.get(portbindings.HOST_ID) in (None, "", self.conf.host)
        }
        if dhcp_port:
            ours.add(self.driver.get_device_name(dhcp_port))
        for name in jails.list_jail_ports(network.id):
            if name not in ours:
                LOG.warning("Network %s: stale device %s is removed", network.id, name)
                self.unplug(name, network)

    def fill_dhcp_udp_checksums(self, namespace: str) -> None:
        """Nothing: epair(4) computes checksums, and no old Linux DHCP client reads past a missing one here."""


def _gateway(subnet: Any, ip_version: int) -> str | None:
    if subnet.ip_version != ip_version or not subnet.enable_dhcp or not subnet.gateway_ip:
        return None
    gateway = ipaddress.ip_address(subnet.gateway_ip)
    if gateway.is_link_local or gateway not in ipaddress.ip_network(subnet.cidr):
        LOG.info(
            "Subnet %s: gateway %s is outside of it, so dnsmasq gets no default route through it: it serves leases, "
            "and names only from servers within its own networks",
            subnet.id,
            gateway,
        )
        return None
    return str(gateway)
