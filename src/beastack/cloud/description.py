"""What a cloud is made of: its hosts, their roles, and the physical networks. A TOML file, or the built-in one host.

    name = "two"
    switch = "if_bridge"          # or "openvswitch", whose networks are flat and vlan

    [[physical_network]]          # in this order the hosts' em0, em1, …
    name = "physnet1"
    vlans = "100:199"

    [[host]]
    name = "fbsd1"
    roles = ["compute", "network"]

    [[host]]
    name = "fbsd2"
    roles = ["compute"]
    physical_networks = ["physnet1"]

Errors name the file, the line and what would be right.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from beastack.cloud.errors import CloudError

Role = Literal["compute", "network"]
MOST_HOSTS = 200
MOST_PHYSICAL_NETWORKS = 4
ABOUT_OPENVSWITCH = "docs/decisions/0006-openvswitch.md"
HostName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,14}$")]
NetworkName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PhysicalNetwork(_Strict):
    """One cable that every host with it hangs on; ``vlans`` is the range for tenants, FIRST:LAST, or empty."""

    name: NetworkName
    vlans: str = Field(default="", pattern=r"^(\d{1,4}:\d{1,4})?$")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.vlans:
            first, last = (int(n) for n in self.vlans.split(":"))
            if not 1 <= first <= last <= 4094:
                raise ValueError(f"vlans: {self.vlans!r} is no range within 1:4094")
        return self


class Host(_Strict):
    """One FreeBSD host. ``compute`` runs guests; ``network`` runs the DHCP, L3 and metadata agents. ``zfs`` is the file
    system for its guests' disks as volumes (its pool exists; a simulated host makes one); without it they are files.
    ``hypervisor`` is how guests are run: by bhyve itself, or by libvirt (docs/compute.md), none on a simulated host.
    """

    name: HostName
    roles: list[Role] = Field(default=["compute", "network"], min_length=1)
    physical_networks: list[NetworkName] | None = None
    hypervisor: Literal["bhyve", "libvirt"] = "bhyve"
    zfs: str = Field(default="", pattern=r"^([A-Za-z][A-Za-z0-9_-]{0,31}(/[A-Za-z0-9][A-Za-z0-9_-]{0,31}){1,4})?$")


class Cluster(_Strict):
    """A whole cloud. ``switch`` is what joins the ports of a host: if_bridge(4), or Open vSwitch without tunnels."""

    name: str = Field(default="main", pattern=r"^[A-Za-z0-9]{1,20}$")
    host: list[Host] = Field(default=[Host(name="fbsd1")], min_length=1, max_length=MOST_HOSTS)
    physical_network: list[PhysicalNetwork] = Field(
        default=[PhysicalNetwork(name="physnet1", vlans="100:199")], min_length=1, max_length=MOST_PHYSICAL_NETWORKS
    )
    # after what it is held against
    switch: Literal["if_bridge", "openvswitch"] = "if_bridge"

    @field_validator("switch")
    @classmethod
    def _vlans_for_projects(cls, switch: str, info: ValidationInfo) -> str:
        """Projects' networks need a type of their own; raises ValueError where none is left."""
        networks: list[PhysicalNetwork] | None = info.data.get("physical_network")
        if switch == "openvswitch" and networks is not None and not any(network.vlans for network in networks):
            raise ValueError(
                f"openvswitch has no vxlan here ({ABOUT_OPENVSWITCH}), so projects' networks are VLANs: "
                "give one of the physical networks vlans, for instance 100:199"
            )
        return switch

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in (
            ("host", [h.name for h in self.host]),
            ("physical_network", [n.name for n in self.physical_network]),
        ):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"{what}: {twice[0]!r} is there twice")
        if self.switch == "openvswitch" and (other := [h.name for h in self.host if h.hypervisor != "bhyve"]):
            raise ValueError(f"host {other[0]}: guests that libvirt runs have no ports of Open vSwitch yet: bhyve")
        known = [n.name for n in self.physical_network]
        for host in self.host:
            for name in host.physical_networks or []:
                if name not in known:
                    raise ValueError(f"host {host.name}: there is no physical network {name!r}: {', '.join(known)}")
        for role in ("compute", "network"):
            if not any(role in host.roles for host in self.host):
                raise ValueError(f"no host has the role {role!r}")
        return self

    def cards(self, host: Host) -> dict[str, str]:
        """Physical network -> network card of this host: em0 is the first network's, em1 the second's."""
        wanted = host.physical_networks
        return {
            network.name: f"em{number}"
            for number, network in enumerate(self.physical_network)
            if wanted is None or network.name in wanted
        }


def line_of(text: str, location: tuple[str | int, ...]) -> int:
    """The line, from 1, on which a value stands; of what is not there, its table's. ``location`` is pydantic's."""
    path: list[str | int] = []
    counts: dict[str, int] = {}
    best = 1
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[(\[?)\s*([\w.-]+)\s*\]", line)
        key = re.match(r"\s*([\w-]+)\s*=", line)
        if header:
            name = header[2]
            path = [name]
            if header[1]:
                counts[name] = counts.get(name, -1) + 1
                path.append(counts[name])
            here = tuple(path)
        elif key:
            here = (*path, key[1])
        else:
            continue
        matched = len(here) if tuple(location[: len(here)]) == here else 0
        if matched > depth:
            best, depth = number, matched
    return best


def parse(text: str, source: str) -> Cluster:
    """Read a description; CloudError with every mistake and its line."""
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise CloudError(f"{source}: {e}", remedy="see clouds/ for examples") from e
    try:
        return Cluster.model_validate(data)
    except ValidationError as e:
        words = []
        for error in e.errors():
            location = tuple(error["loc"])
            what = ".".join(str(part) for part in location)
            message = error["msg"].removeprefix("Value error, ")
            if error["type"] == "extra_forbidden":
                message = "there is no such setting"
            words.append(f"{source}, line {line_of(text, location)}: {what + ': ' if what else ''}{message}")
        raise CloudError("\n".join(words), remedy="see clouds/ for examples") from e


def read(path: Path) -> Cluster:
    """Read a description's file."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise CloudError(f"{path} cannot be read: {e}", remedy="name a file such as clouds/two-node.toml") from e
    return parse(text, str(path))
