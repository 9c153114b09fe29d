"""Routers in vnet jails, for the stock neutron-l3-agent."""
