"""DHCP and metadata in vnet jails, for the stock neutron-dhcp-agent."""
