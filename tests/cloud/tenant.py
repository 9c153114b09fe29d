"""What tests make through the API in a tenant's name (networks, routers, ports with stand-ins), and take away again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .stand_in import StandIn


@dataclass
class Tenant:
    """Networks, a router and guests that were made for these tests."""

    api: Any
    admin: Any
    external: Any
    group: Any
    undo: list[Any] = field(default_factory=list)

    def network(self, name: str, *subnets: dict[str, Any]) -> tuple[Any, list[Any]]:
        made = self.api.network.create_network(name=name)
        self.undo.append(lambda: self.api.network.delete_network(made))
        return made, [self.api.network.create_subnet(network_id=made.id, **s) for s in subnets]

    def router(self, name: str, *subnets: Any) -> Any:
        made = self.api.network.create_router(name=name, external_gateway_info={"network_id": self.external.id})
        self.undo.append(lambda: self.remove(made))
        for subnet in subnets:
            self.api.network.add_interface_to_router(made, subnet=subnet.id)
        return made

    def remove(self, router: Any) -> None:
        if self.api.network.find_router(router.id) is None:
            return
        for port in self.api.network.ports(device_id=router.id, device_owner="network:router_interface"):
            self.api.network.remove_interface_from_router(router, port=port.id)
        self.api.network.delete_router(router)

    def guest(self, name: str, network: Any, **more: Any) -> StandIn:
        port = self.api.network.create_port(network_id=network.id, name=name, security_groups=[self.group.id], **more)
        self.undo.append(lambda: self.admin.network.delete_port(port))
        made = StandIn(self.admin, port)
        self.undo.append(made.remove)
        return made

    def floating(self, **more: Any) -> Any:
        made = self.api.network.create_ip(floating_network_id=self.external.id, **more)
        self.undo.append(lambda: self.release(made))
        return made

    def release(self, fip: Any) -> None:
        for forwarding in list(self.api.network.port_forwardings(fip.id)):
            self.api.network.delete_port_forwarding(forwarding.id, fip.id)
        self.api.network.delete_ip(fip)

    def close(self) -> None:
        for action in reversed(self.undo):
            action()


def four(cidr: str) -> dict[str, Any]:
    return {"ip_version": 4, "cidr": cidr}


def six(cidr: str, mode: str) -> dict[str, Any]:
    return {"ip_version": 6, "cidr": cidr, "ipv6_ra_mode": mode, "ipv6_address_mode": mode}


@contextmanager
def borrowed(api: Any, demo: Any) -> Iterator[Tenant]:
    """The project demo, with what is made in it taken away at the end."""
    group = next(iter(demo.network.security_groups(name="ping-and-ssh")))
    made = Tenant(demo, api, demo.network.find_network("provider"), group)
    try:
        yield made
    finally:
        made.close()
