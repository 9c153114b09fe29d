"""Neutron on FreeBSD: mechanism driver, bridge agent, pf firewall, DHCP in vnet jails."""
