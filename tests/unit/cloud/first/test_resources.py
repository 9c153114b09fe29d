"""What is there stays, what is missing is made: against a small cloud in memory."""

from types import SimpleNamespace
from typing import Any

from beastack.cloud.first import resources


class Network:
    """Security groups, networks and subnets of one project."""

    def __init__(self) -> None:
        self.groups: dict[str, Any] = {}
        self.networks: dict[str, Any] = {}
        self.subnets: dict[str, Any] = {}

    def find_security_group(self, name: str, **_: Any) -> Any:
        return self.groups.get(name)

    def create_security_group(self, name: str, **_: Any) -> Any:
        self.groups[name] = SimpleNamespace(id=name, security_group_rules=[])
        return self.groups[name]

    def create_security_group_rule(self, security_group_id: str, ether_type: str, **rule: Any) -> None:
        self.groups[security_group_id].security_group_rules.append(rule | {"ethertype": ether_type})

    def find_network(self, name: str, **_: Any) -> Any:
        return self.networks.get(name)

    def create_network(self, name: str, **given: Any) -> Any:
        self.networks[name] = SimpleNamespace(id=name, **given)
        return self.networks[name]

    def find_subnet(self, name: str, **_: Any) -> Any:
        return self.subnets.get(name)

    def create_subnet(self, name: str, **given: Any) -> None:
        self.subnets[name] = given


def cloud() -> Any:
    return SimpleNamespace(network=Network(), current_project_id="p")


def test_the_group_lets_icmp_and_ssh_in_and_nothing_else() -> None:
    there = cloud()
    assert resources.ensure_group(there).startswith("made group")
    rules = there.network.groups[resources.GROUP].security_group_rules
    assert {(r["protocol"], r["port_range_min"], r["port_range_max"]) for r in rules} == {
        ("icmp", None, None),
        ("ipv6-icmp", None, None),
        ("tcp", 22, 22),
    }
    assert all(r["direction"] == "ingress" for r in rules)


def test_a_second_time_makes_nothing() -> None:
    there = cloud()
    for _ in range(2):
        group, network = resources.ensure_group(there), resources.ensure_network(there, "physnet1", "198.18.3")
    assert group == "ping-and-ssh is there"
    assert network == "provider is there"


def test_a_rule_that_was_taken_away_comes_back() -> None:
    there = cloud()
    resources.ensure_group(there)
    rules = there.network.groups[resources.GROUP].security_group_rules
    rules[:] = [r for r in rules if r["protocol"] != "icmp"]
    assert resources.ensure_group(there) == "made IPv4 icmp"


def test_the_subnet_leaves_the_gateway_and_the_hosts_out_of_its_pool() -> None:
    there = cloud()
    resources.ensure_network(there, "physnet1", "198.18.3")
    subnet = there.network.subnets[resources.SUBNET]
    assert subnet["gateway_ip"] == "198.18.3.1"
    assert subnet["allocation_pools"] == [{"start": "198.18.3.100", "end": "198.18.3.199"}]
