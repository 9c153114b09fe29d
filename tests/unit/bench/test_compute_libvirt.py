"""What the bench makes for the host with upstream's libvirt driver: configurations, mounts, lists of packages."""

from pathlib import Path

import pytest
from bench.compute_libvirt import agent_conf, nova_conf, with_driver
from bench.debs import files
from bench.linux_host import overlays

from beastack.cloud.config.common import render
from beastack.cloud.layout import PASSWORDS, Layout

LAYOUT = Layout("bench", Path("/var/lib/beastack/bench"), 3)
SECRETS = dict.fromkeys(PASSWORDS, "secret")


def test_neutron_gets_upstream_s_driver_besides_ours_and_once() -> None:
    text = "[ml2]\ntype_drivers = flat,vlan\nmechanism_drivers = freebsdbridge,l2population\nextension_drivers = a\n"
    once = with_driver(text)
    assert "\nmechanism_drivers = freebsdbridge,l2population,openvswitch\nextension_drivers = a\n" in once
    assert with_driver(once) == once


def test_nova_compute_is_upstream_s_and_knows_nothing_of_ours() -> None:
    made = nova_conf(LAYOUT, SECRETS, Path("/etc/x/nova.conf"), "qemu", "Nehalem")
    assert made["DEFAULT"]["compute_driver"] == "libvirt.LibvirtDriver"
    assert made["libvirt"] == {
        "virt_type": "qemu",
        "hw_machine_type": "x86_64=q35",
        "cpu_mode": "custom",
        "cpu_models": "Nehalem",
        "tb_cache_size": 128,
    }
    assert "fbsd" not in render(made)
    assert not any(name.startswith("beastack") for name in made)


def test_with_kvm_the_guest_has_the_machine_s_processor() -> None:
    made = nova_conf(LAYOUT, SECRETS, Path("/etc/x/nova.conf"), "kvm", "host")
    assert made["libvirt"] == {"virt_type": "kvm", "hw_machine_type": "x86_64=q35", "cpu_mode": "host-passthrough"}


@pytest.mark.parametrize("context", ["privsep", "vif_plug_ovs_privileged", "privsep_ovs_vsctl"])
def test_the_agent_s_privileged_half_is_upstream_s(context: str) -> None:
    made = agent_conf(LAYOUT, SECRETS, Path("/etc/x/neutron.conf"))
    command = str(made[context]["helper_command"]).split()
    assert command[0].endswith("/privsep-helper")
    assert command[1:] == ["--config-file", "/etc/x/neutron.conf"]
    assert made["securitygroup"]["firewall_driver"] == "openvswitch"
    assert not any(name.startswith(("beastack", "freebsd")) for name in made)
    assert set(made["DEFAULT"]) == {"use_stderr", "debug", "transport_url", "host", "state_path"}


def test_apt_s_list_of_files() -> None:
    text = (
        "Reading package lists...\n"
        "'http://deb.debian.org/debian/pool/main/c/x/conntrack_1.4.7-1%2bb2_amd64.deb' "
        "conntrack_1%3a1.4.7-1+b2_amd64.deb 35240 MD5Sum:c4ca\n"
        "'http://deb.debian.org/debian/pool/main/a/a/a_1_all.deb' a_1_all.deb 7 \n"
        "E: nothing of this\n"
    )
    assert files(text) == ["a_1_all.deb", "conntrack_1%3a1.4.7-1+b2_amd64.deb"]


def test_the_machine_s_own_files_are_below_and_never_written() -> None:
    made = overlays(Path("/cache/root"), Path("/mnt"))
    usr = next(argv for argv in made if argv[-1] == "/usr")
    assert "lowerdir=/cache/root/usr:/usr,ro" in usr
    assert "upperdir" not in " ".join(usr)
    etc = next(argv for argv in made if argv[-1] == "/etc")
    assert "lowerdir=/cache/root/etc:/etc,upperdir=/mnt/etc,workdir=/mnt/work" in etc
    # what is written to lies in a file system of the host's own, which is mounted before
    assert made.index(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]) < made.index(etc)
