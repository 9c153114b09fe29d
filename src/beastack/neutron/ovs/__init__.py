"""Open vSwitch on FreeBSD hosts: upstream's agent with a bridge and a firewall driver that fail closed (0006)."""
