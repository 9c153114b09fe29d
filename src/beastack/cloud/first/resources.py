"""Project, flavors, key pair, image, network and security group: each found by its name, or made.

Every function returns a note for the summary that begins with ``made`` when something was made.
"""

from pathlib import Path
from typing import Any

from beastack.cloud.first import keys
from beastack.cloud.guestimage import MIN_RAM_MIB, build
from beastack.cloud.layout import Layout

PROJECT = "demo"
USER = "demo"
KEY = "demo"
IMAGE = "beastack-guest"
VERSION = "beastack_guest_version"
NETWORK = "provider"
SUBNET = "provider-ipv4"
GROUP = "ping-and-ssh"
# name -> virtual CPUs, memory in MiB, root disk in GiB
FLAVORS = {"b1.tiny": (1, 256, 1), "b1.small": (1, 1024, 10), "b1.medium": (2, 4096, 40)}
IMAGE_CACHE = Path("/var/cache/beastack/guestimage")


def _note(made: list[str], there: str) -> str:
    return f"made {', '.join(made)}" if made else f"{there} is there"


def ensure_project(cloud: Any, password: str) -> str:
    """Project and user ``demo``, with the role ``member``."""
    identity = cloud.identity
    made = []
    project = identity.find_project(PROJECT, domain_id="default", ignore_missing=True)
    if project is None:
        project = identity.create_project(name=PROJECT, domain_id="default", description="for trying the cloud")
        made.append("project")
    user = identity.find_user(USER, domain_id="default", ignore_missing=True)
    if user is None:
        user = identity.create_user(name=USER, password=password, domain_id="default", default_project_id=project.id)
        made.append("user")
    role = identity.find_role("member", ignore_missing=False)
    if not identity.validate_user_has_project_role(project, user, role):
        identity.assign_project_role_to_user(project, user, role)
        made.append("role")
    return _note(made, PROJECT)


def ensure_flavors(cloud: Any) -> str:
    """Flavors of three sizes."""
    present = {flavor.name for flavor in cloud.compute.flavors(details=False)}
    made = [name for name in FLAVORS if name not in present]
    for name in made:
        vcpus, ram, disk = FLAVORS[name]
        cloud.compute.create_flavor(name=name, vcpus=vcpus, ram=ram, disk=disk, is_public=True)
    return _note(made, "every flavor")


def ensure_image(cloud: Any, file: Path, version: str) -> str:
    """The guest image of this version, public; an image of another version is hidden, for servers that use it."""
    present = list(cloud.image.images(name=IMAGE))
    if any(image.properties.get(VERSION) == version for image in present):
        return f"{IMAGE} {version} is there"
    cloud.image.create_image(
        IMAGE,
        filename=str(file),
        disk_format="qcow2",
        container_format="bare",
        visibility="public",
        min_ram=MIN_RAM_MIB,
        min_disk=1,
        meta={VERSION: version, "hw_firmware_type": "uefi", "hw_rng_model": "virtio", "os_type": "linux"},
        wait=True,
    )
    for image in present:
        cloud.image.update_image(image, is_hidden=True)
    return f"made {IMAGE}, version {version}, {file.stat().st_size >> 20} MiB"


def build_image(layout: Layout) -> tuple[Path, str]:
    """Build the guest image, or take the one that was built before; its file and version."""
    with layout.log("guest-image").open("a") as log:
        out = layout.run_dir / "run" / "guest.qcow2"
        image = build(IMAGE_CACHE, out, lambda text: print(text, file=log, flush=True))
    return image.path, image.version


def ensure_network(cloud: Any, physical_network: str, prefix: str) -> str:
    """A flat provider network for all projects, and the outside of their routers.

    ``prefix`` is the first three bytes of its /24.
    """
    made = []
    network = cloud.network.find_network(NETWORK, ignore_missing=True)
    if network is None:
        network = cloud.network.create_network(
            name=NETWORK,
            is_shared=True,
            is_router_external=True,
            provider_network_type="flat",
            provider_physical_network=physical_network,
        )
        made.append("network")
    elif not network.is_router_external:
        # of a cloud from before there were routers
        cloud.network.update_network(network, is_router_external=True)
        made.append("the external network of routers")
    if cloud.network.find_subnet(SUBNET, ignore_missing=True, network_id=network.id) is None:
        cloud.network.create_subnet(
            name=SUBNET,
            network_id=network.id,
            ip_version=4,
            cidr=f"{prefix}.0/24",
            gateway_ip=f"{prefix}.1",
            allocation_pools=[{"start": f"{prefix}.100", "end": f"{prefix}.199"}],
            enable_dhcp=True,
        )
        made.append(f"subnet {prefix}.0/24")
    return _note(made, NETWORK)


def ensure_group(cloud: Any) -> str:
    """A security group of the project that lets ICMP and SSH in, over IPv4 and IPv6."""
    made = []
    group = cloud.network.find_security_group(GROUP, ignore_missing=True, project_id=cloud.current_project_id)
    if group is None:
        group = cloud.network.create_security_group(name=GROUP, description="ICMP and SSH from anywhere")
        made.append("group")
    present = {
        (r["ethertype"], r["protocol"], r["port_range_min"])
        for r in group.security_group_rules
        if r["direction"] == "ingress"
    }
    wanted = (("IPv4", "icmp", None), ("IPv4", "tcp", 22), ("IPv6", "ipv6-icmp", None), ("IPv6", "tcp", 22))
    for ethertype, protocol, port in wanted:
        if (ethertype, protocol, port) not in present:
            cloud.network.create_security_group_rule(
                security_group_id=group.id,
                direction="ingress",
                ether_type=ethertype,
                protocol=protocol,
                port_range_min=port,
                port_range_max=port,
            )
            made.append(f"{ethertype} {protocol}")
    return _note(made, GROUP)


def ensure_key(cloud: Any, layout: Layout) -> str:
    """The user's key pair; a key of another cloud's life under the same name is replaced."""
    line = keys.public_key(layout.credentials / "id_ed25519", f"beastack-{layout.name}")
    found = cloud.compute.find_keypair(KEY, ignore_missing=True)
    if found is not None and found.public_key.split()[:2] == line.split()[:2]:
        return f"{KEY} is there"
    if found is not None:
        cloud.compute.delete_keypair(found)
    cloud.compute.create_keypair(name=KEY, public_key=line, type="ssh")
    return f"made {KEY}"
