"""Interface driver ``beastack`` (entry point ``neutron.interface_drivers``): a port in a jail is an epair.

Its host end ``tap`` + 11 characters of the port's id is what the bridge agent finds and plugs into the network's
bridge; its jail end is ``ns-`` + the same. Derived from neutron_lib's base alone: neutron/agent/linux/interface.py
loads the whole of Open vSwitch's and netlink's helpers.
"""

from typing import Any

from neutron_lib import constants
from neutron_lib.agent.linux import interface
from oslo_log import log as logging

from beastack.privsep import interfaces, jails

LOG = logging.getLogger(__name__)
JAIL_PREFIX = "qdhcp-"
# Ethernet's, for a network that says nothing (neutron_lib.constants.DEFAULT_NETWORK_MTU)
DEFAULT_MTU = constants.DEFAULT_NETWORK_MTU


class JailInterfaceDriver(interface.LinuxInterfaceDriver):
    """What the DHCP agent's device manager asks of an interface driver, done through the privilege boundary."""

    DEV_NAME_PREFIX = "ns-"
    # the DHCP port has an address of its own, and stands on the network's bridge
    use_gateway_ips = False
    bridged = True

    def __init__(self, conf: Any, **kwargs: Any) -> None:
        self.conf = conf

    def get_device_name(self, port: Any) -> str:
        """The jail end's name of a port."""
        return str(self.DEV_NAME_PREFIX + port["id"])[: self.DEV_NAME_LEN]

    def plug_new(
        self,
        network_id: str,
        port_id: str,
        device_name: str,
        mac_address: str,
        bridge: str | None = None,
        namespace: str | None = None,
        prefix: str | None = None,
        mtu: int | None = None,
        link_up: bool = True,
    ) -> None:
        """The jail and the port in it, made or mended; what is right is left alone."""
        jails.ensure_dhcp_jail(network_id)
        jails.ensure_jail_port(network_id, port_id, mac_address, mtu or DEFAULT_MTU)

    plug = plug_new

    def unplug(
        self, device_name: str, bridge: str | None = None, namespace: str | None = None, prefix: str | None = None
    ) -> None:
        """Destroy the epair by its host end; gone is fine."""
        interfaces.destroy_interface("tap" + device_name.removeprefix(self.DEV_NAME_PREFIX))
