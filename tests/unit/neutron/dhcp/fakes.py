"""A network, its ports, and the privilege boundary, recorded."""

from typing import Any

from neutron.agent.linux import dhcp as upstream
from neutron_lib import exceptions

NET = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
PORT = "aaaaaaaa-bbcc-4c55-9d1b-0f7a8d7f2f11"
GUEST = "bbbbbbbb-bbcc-4c55-9d1b-0f7a8d7f2f11"
SUBNET = "cccccccc-bbcc-4c55-9d1b-0f7a8d7f2f11"
SUBNET6 = "dddddddd-bbcc-4c55-9d1b-0f7a8d7f2f11"
NS, TAP = f"ns-{PORT[:11]}", f"tap{PORT[:11]}"


def port(id: str, mac: str, owner: str, address: str, device: str = "x", **more: Any) -> dict[str, Any]:
    fixed = [{"subnet_id": SUBNET, "ip_address": address}]
    return {
        "id": id,
        "network_id": NET,
        "mac_address": mac,
        "device_owner": owner,
        "device_id": device,
        "admin_state_up": True,
        "fixed_ips": fixed,
        "extra_dhcp_opts": [],
        **more,
    }


def subnet(
    id: str = SUBNET, cidr: str = "10.8.0.0/24", gateway: str | None = "10.8.0.1", **more: Any
) -> dict[str, Any]:
    return {
        "id": id,
        "cidr": cidr,
        "ip_version": 6 if ":" in cidr else 4,
        "enable_dhcp": True,
        "gateway_ip": gateway,
        "host_routes": [],
        "dns_nameservers": [],
        "subnetpool_id": None,
        **more,
    }


def network(*ports: dict[str, Any], subnets: list[dict[str, Any]] | None = None, mtu: int = 1450) -> Any:
    ours = port(PORT, "fa:16:3e:00:00:02", "network:dhcp", "10.8.0.2", "ours")
    return upstream.NetModel(
        {
            "id": NET,
            "project_id": "p",
            "mtu": mtu,
            "segments": [],
            "subnets": [subnet()] if subnets is None else subnets,
            "non_local_subnets": [],
            "ports": [*ports, ours],
        }
    )


def guest(mac: str = "fa:16:3e:00:00:0a") -> dict[str, Any]:
    return port(GUEST, mac, "compute:nova", "10.8.0.10")


def nothing(*_: Any) -> None:
    return None


def conflict(*_: Any) -> None:
    raise exceptions.Conflict


class Monitor:
    def __init__(self) -> None:
        self.watched: dict[tuple[str, str], Any] = {}

    def register(self, uuid: str, service_name: str, monitored_process: Any) -> None:
        self.watched[uuid, service_name] = monitored_process

    def unregister(self, uuid: str, service_name: str) -> None:
        self.watched.pop((uuid, service_name), None)


class Plugin:
    def __init__(self) -> None:
        self.released: list[tuple[str, str]] = []

    def get_networks(self, *a: Any, **k: Any) -> list[Any]:
        return []

    get_ports = get_networks

    def update_dhcp_port(self, port_id: str, wanted: dict[str, Any]) -> Any:
        """The server gives an address in each subnet that is named without one."""
        fixed = [{"ip_address": "2001:db8::2", **given} for given in wanted["port"]["fixed_ips"]]
        return upstream.DictModel(port(port_id, "fa:16:3e:00:00:02", "network:dhcp", "", "ours") | {"fixed_ips": fixed})

    def release_dhcp_port(self, network_id: str, device_id: str) -> None:
        self.released.append((network_id, device_id))


class Host:
    """What the entry points were asked, and the little state that their answers need."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.dnsmasq: tuple[Any, ...] | None = None
        self.proxy = False
        self.jail = False
        self.leases = ""
        self.ports: list[str] = []
        self.fail: dict[str, Exception] = {}

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append((name, *args))
            if name in self.fail:
                raise self.fail[name]
            return getattr(self, f"_{name}", nothing)(*args)

        if name.startswith("_"):
            raise AttributeError(name)
        return call

    def _start_dnsmasq(self, *args: Any) -> str:
        before, self.dnsmasq = self.dnsmasq, args
        return "reloaded" if before == args else "restarted" if before else "started"

    def _stop_dnsmasq(self, *args: Any) -> bool:
        before, self.dnsmasq = self.dnsmasq, None
        return before is not None

    def _dnsmasq_pid(self, *args: Any) -> int | None:
        return 77 if self.dnsmasq else None

    def _dnsmasq_leases(self, *args: Any) -> str:
        return self.leases

    def _start_metadata_proxy(self, *args: Any) -> str:
        self.proxy = True
        return "started"

    def _stop_metadata_proxy(self, *args: Any) -> bool:
        self.proxy = False
        return True

    def _metadata_proxy_pid(self, *args: Any) -> int | None:
        return 78 if self.proxy else None

    def _ensure_dhcp_jail(self, *args: Any) -> None:
        self.jail = True

    def _remove_dhcp_jail(self, *args: Any) -> None:
        self.jail = False

    def _list_dhcp_jails(self) -> list[str]:
        return [NET] if self.jail else []

    def _ensure_jail_port(self, network_id: str, port_id: str, *args: Any) -> None:
        self.ports.append(f"ns-{port_id[:11]}")

    def _list_jail_ports(self, *args: Any) -> list[str]:
        return self.ports

    def verbs(self) -> list[str]:
        """What was asked for; reading leases changes nothing."""
        return [c[0] for c in self.calls if c[0] != "dnsmasq_leases"]

    def last(self, verb: str) -> tuple[Any, ...]:
        return next(c[1:] for c in reversed(self.calls) if c[0] == verb)
