"""``dhcp_driver = beastack.neutron.dhcp.driver.JailDnsmasq`` for the stock neutron-dhcp-agent.

Upstream's Dnsmasq decides everything about leases and options and writes all files; a network's processes live in the
vnet jail ``qdhcp-NETWORK`` instead of a network namespace. They outlive the agent: a new one finds them by the
privileged side's pid files, and restarts only what its settings changed.

The agent swallows what a driver raises (dhcp/agent.py, _call_driver: logs it and syncs again), so nothing is retried
here; an error that upstream tells at debug level only is told aloud.
"""

import functools
import ipaddress
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from neutron import privileged
from neutron.agent.linux import dhcp
from neutron_lib import constants, exceptions
from neutron_lib.utils import file as file_utils
from oslo_log import log as logging
from oslo_utils import fileutils, netutils, uuidutils

from beastack.freebsd.errors import HostError
from beastack.neutron.dhcp import metadata, options
from beastack.neutron.dhcp.devices import JailDeviceManager
from beastack.neutron.dhcp.processes import DnsmasqProcess, Watched
from beastack.privsep import dhcp as entries
from beastack.privsep import jails

LOG = logging.getLogger(__name__)
T = TypeVar("T")

# oslo_utils looks into /proc/sys, which FreeBSD has not, and would find no IPv6 (netutils.is_ipv6_enabled).
netutils._IS_IPV6_ENABLED = True
# The agent's clean-up of proxies it never started goes through neutron's own privileged context
# (metadata/driver_base.py, cleanup_config_file). Nothing here needs that context: its functions run with the agent's
# own rights, and no second daemon runs as root.
privileged.default.set_client_mode(False)


def _told(action: Callable[..., T]) -> Callable[..., T]:
    """Log the errors that the agent tells only at debug level, or as a network that is gone."""

    @functools.wraps(action)
    def run(self: "JailDnsmasq", *args: Any, **kwargs: Any) -> T:
        try:
            return action(self, *args, **kwargs)
        except (exceptions.Conflict, exceptions.SubnetMismatchForPort) as e:
            LOG.warning("Network %s: %s not done: %s", self.network.id, action.__name__, e)
            raise

    return run


class JailDnsmasq(dhcp.Dnsmasq):
    """One network's DHCP server; made anew by the agent for each action."""

    def __init__(
        self,
        conf: Any,
        network: Any,
        process_monitor: Any,
        version: Any = None,
        plugin: Any = None,
        segment: Any = None,
    ) -> None:
        super().__init__(conf, network, process_monitor, version, plugin, segment)
        options.keep_sound(getattr(network, "ports", []))
        self.device_manager = JailDeviceManager(conf, plugin)

    @classmethod
    def existing_dhcp_networks(cls, conf: Any) -> list[str]:
        """Networks with files or a jail here, so that the agent removes those it no longer serves."""
        known = set(super().existing_dhcp_networks(conf))
        try:
            known |= {n for n in jails.list_dhcp_jails() if uuidutils.is_uuid_like(n)}
        except HostError:
            LOG.exception("Jails cannot be listed: those of deleted networks stay until the agent starts again")
        return sorted(known)

    @classmethod
    def should_enable_metadata(cls, conf: Any, network: Any) -> bool:  # noqa: ARG003 — upstream's signature
        """Never for the agent, which would use ``ip netns``: the driver keeps the proxies (see ``metadata``)."""
        return False

    # --- the agent's actions ---------------------------------------------------------------------------------------

    @_told
    def enable(self) -> None:
        """Make the network served, keeping the processes that do so already."""
        if not self._enable_dhcp():
            if self.active:
                self.disable(retain_port=True, block=True)
            return
        fileutils.ensure_tree(self.network_conf_dir, mode=0o755)
        self.interface_name = self.device_manager.setup(self.network, self.segment)
        if self.active:
            self._release_unused_leases()
        if not self.active:
            self._output_init_lease_file()
        self._spawn_or_reload_process(reload_with_HUP=True)
        self._add_running_interface(self.interface_name, self.network.id)
        self._serve_metadata(again=True)

    @_told
    def reload_allocations(self) -> None:
        """Write the files again and let dnsmasq read them.

        The agent reads the network anew after setting it up and remembers that (configure_dhcp_for_network): a subnet
        that came meanwhile is one that it believes to be served. It only reloads, and our port has no address there.
        """
        if self._enable_dhcp() and self._lacks_an_address():
            self.enable()
            return
        super().reload_allocations()
        if self._enable_dhcp() and self.interface_name:
            self._serve_metadata(again=False)

    @_told
    def disable(self, retain_port: bool = False, block: bool = False, **kwargs: Any) -> None:
        """End dnsmasq, and unless ``retain_port`` everything of the network on this host."""
        super().disable(retain_port=retain_port, block=block, **kwargs)

    def _lacks_an_address(self) -> bool:
        device = self.device_manager.get_device_id(self.network, self.segment)
        port = next((p for p in self.network.ports if p.device_id == device), None)
        if port is None:
            return False
        return bool({s.id for s in self.network.subnets if s.enable_dhcp} - {f.subnet_id for f in port.fixed_ips})

    # --- what upstream does by namespaces --------------------------------------------------------------------------

    @property
    def _segment_number(self) -> int | None:
        return self.segment.segmentation_id if self.segment else None

    def _get_process_manager(self, cmd_callback: Any = None) -> DnsmasqProcess:
        return DnsmasqProcess(self.network.id, self._segment_number, self._start_dnsmasq)

    def _spawn_or_reload_process(self, reload_with_HUP: bool) -> None:
        self._output_config_files()
        process = self._get_process_manager()
        process.enable()
        watched = Watched(f"dnsmasq of network {process.uuid}", lambda: process.active, self._mend)
        self.process_monitor.register(
            uuid=process.uuid, service_name=dhcp.DNSMASQ_SERVICE_NAME, monitored_process=watched
        )

    def _mend(self) -> None:
        """After dnsmasq or the whole jail was lost: everything but the files, which the agent keeps right."""
        self.device_manager.setup(self.network, self.segment)
        self._start_dnsmasq()

    def _start_dnsmasq(self) -> str:
        if self.conf.dnsmasq_config_file.strip() or self.conf.dnsmasq_base_log_dir:
            LOG.warning(
                "[DEFAULT] dnsmasq_config_file and dnsmasq_base_log_dir are not used: set dnsmasq_config_file and "
                "dhcp_log_path in [beastack] of the privileged side"
            )
        served = [s for s in self.network.subnets if s.enable_dhcp]
        networks = [ipaddress.ip_network(s.cidr) for s in served]
        addresses = sum(n.num_addresses for n in networks if n.version == 4 or n.prefixlen >= 64)
        done: str = entries.start_dnsmasq(
            self.network.id,
            self._segment_number,
            self.interface_name,
            [{"subnet_id": s.id, "cidr": s.cidr} for s in served if _has_range(s)],
            self.conf.dhcp_lease_duration,
            min(addresses, self.conf.dnsmasq_lease_max),
            getattr(self.network, "mtu", 0) or 0,
            max(self.conf.dhcp_renewal_time, 0),
            max(self.conf.dhcp_rebinding_time, 0),
            list(self.conf.dnsmasq_dns_servers),
            self.conf.dns_domain or "",
            self.conf.dnsmasq_local_resolv,
            self.conf.dhcp_broadcast_reply,
            self.conf.dnsmasq_txt_record or "",
        )
        return done

    def _destroy_namespace_and_port(self) -> None:
        """Remove the port's device and, when it was the last one, the jail; the port itself last: it needs Neutron."""
        metadata.remove(self.process_monitor, self.network.id, again=True)
        name = self.interface_name
        try:
            if name:
                self.device_manager.unplug(name, self.network)
            if self.segment is None or not jails.list_jail_ports(self.network.id):
                jails.remove_dhcp_jail(self.network.id)
        finally:
            self.device_manager.plugin.release_dhcp_port(
                self.network.id, self.device_manager.get_device_id(self.network, self.segment)
            )

    def _serve_metadata(self, again: bool) -> None:
        if super().should_enable_metadata(self.conf, self.network):
            ipv6 = any(s.ip_version == constants.IP_VERSION_6 for s in self.network.subnets)
            metadata.ensure(self.conf, self.process_monitor, self.network.id, ipv6, again)
        else:
            metadata.remove(self.process_monitor, self.network.id, again)

    def _make_subnet_interface_ip_map(self) -> dict[str, str]:
        """Subnet -> our address in it, from the DHCP port itself; upstream reads the interface."""
        ours = self.interface_name
        return {
            fixed.subnet_id: fixed.ip_address
            for port in self.network.ports
            if self.device_manager.get_interface_name(self.network, port) == ours
            for fixed in port.fixed_ips
        }

    # --- leases ------------------------------------------------------------------------------------------------------

    def _release_unused_leases(self) -> None:
        """Forget the leases of ports that are gone, or dnsmasq refuses their addresses to others until they expire.

        Upstream sends DHCPRELEASE by dhcp_release(1), which only Linux has. dnsmasq keeps its leases in memory, so it
        is ended here and its file written anew by upstream's own code; the caller starts it at once.
        """
        stale = self._stale_leases()
        if stale:
            LOG.info("Network %s: leases of %s are dropped, dnsmasq starts anew", self.network.id, ", ".join(stale))
            process = self._get_process_manager()
            self.process_monitor.unregister(process.uuid, dhcp.DNSMASQ_SERVICE_NAME)
            process.disable()
            self._output_init_lease_file()

    def _output_init_lease_file(self) -> Any:
        """See upstream's, which keeps IPv6 leases from the file that dnsmasq left."""
        self._fetch_leases()
        return super()._output_init_lease_file()

    def _fetch_leases(self) -> None:
        """Make the agent's file what dnsmasq keeps on the privileged side, where the agent cannot read it."""
        text = entries.dnsmasq_leases(self.network.id, self._segment_number)
        if text:
            file_utils.replace_file(self.get_conf_file_name("leases"), text)

    def _stale_leases(self) -> list[str]:
        # as text: an address of the lease file that nobody can read is not one of ours
        owners = {(f.ip_address, p.mac_address) for p in self.network.ports for f in p.fixed_ips}
        addresses = {address for address, _ in owners}
        self._fetch_leases()
        leases = self._read_leases_file_leases(self.get_conf_file_name("leases"))
        # an IPv6 lease names no MAC address: in its place stands the client's association
        return sorted(
            ip
            for ip, lease in leases.items()
            if (ip not in addresses if ":" in ip else (ip, lease["iaid"]) not in owners)
        )

    def _release_lease(self, *args: Any, **kwargs: Any) -> None:
        LOG.debug("No DHCPRELEASE is sent on FreeBSD: see JailDnsmasq._release_unused_leases")


def _has_range(subnet: Any) -> bool:
    """Whether dnsmasq gives out addresses or options (upstream's ``mode``): not where routers advertise alone."""
    network = ipaddress.ip_network(subnet.cidr)
    if network.version == 4:
        return True
    address_mode = getattr(subnet, "ipv6_address_mode", None)
    advertised = getattr(subnet, "ipv6_ra_mode", None)
    wanted: Iterable[Any] = (constants.DHCPV6_STATEFUL, constants.DHCPV6_STATELESS)
    return (address_mode in wanted or not (address_mode or advertised)) and network.prefixlen >= 64
