"""The table from Linux capabilities to FreeBSD's means, and the commands that follow from it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_privsep import capabilities

from beastack.privsep import confinement
from beastack.privsep.checks import Refused
from beastack.privsep.confinement import TABLE, Means, Place, decide

WHERE = Place("bspriv-x", "/var/run/beastack-privsep/x", 64711, ("/var/db",))
CAPS = st.lists(st.sampled_from(sorted(TABLE)))
ORDER = [Means.USER, Means.JAIL, Means.HOST]


def test_every_capability_of_upstream_has_its_row() -> None:
    assert set(TABLE) == set(capabilities.CAPS_BYNAME)


def test_a_context_without_capabilities_is_the_services_user() -> None:
    assert decide([]).means is Means.USER
    assert decide(["CAP_LEASE"]).means is Means.USER


@pytest.mark.parametrize("name", ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_BPF"])
def test_what_needs_the_hosts_kernel_is_root_on_the_host(name: str) -> None:
    assert decide(["CAP_CHOWN", name]) == confinement.Verdict(Means.HOST)


def test_files_only_is_a_jail_without_network_and_without_allow() -> None:
    found = decide(["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"])
    assert found.means is Means.JAIL
    assert found.parameters == (
        "ip4=disable",
        "ip6=disable",
        "enforce_statfs=2",
        "allow.noset_hostname",
        "allow.noreserved_ports",
        "allow.nounprivileged_proc_debug",
    )


def test_what_is_needed_is_given_and_no_more() -> None:
    found = decide(["CAP_NET_RAW", "CAP_NET_BIND_SERVICE"])
    assert {"ip4=inherit", "ip6=inherit", "allow.raw_sockets", "allow.reserved_ports"} <= set(found.parameters)
    assert "allow.noreserved_ports" not in found.parameters
    assert [p for p in found.parameters if p.startswith("allow.") and not p.startswith("allow.no")] == [
        "allow.raw_sockets",
        "allow.reserved_ports",
    ]


@given(CAPS, CAPS)
def test_more_capabilities_never_give_less(few: list[str], more: list[str]) -> None:
    assert ORDER.index(decide(few).means) <= ORDER.index(decide([*few, *more]).means)


@given(CAPS)
def test_nothing_ever_opens_mounts_jails_or_a_network_stack(names: list[str]) -> None:
    for parameter in decide(names).parameters:
        assert not parameter.startswith(("allow.mount", "vnet", "children", "allow.suser", "allow.routing"))


@given(st.text().filter(lambda t: t not in TABLE))
def test_an_unknown_capability_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        decide(["CAP_CHOWN", name])


def test_the_commands() -> None:
    shown = {rule.path for rule in confinement.DEVICES}
    assert "null" in shown
    assert not shown & {"mem", "kmem", "io", "pf", "mdctl", "vmm", "vmmctl", "bpf", "zfs", "devctl", "*"}
    assert [point for point, _ in confinement.mounts(WHERE)] == [
        WHERE.root,
        f"{WHERE.root}/var/db",
        f"{WHERE.root}/dev",
    ]
    assert confinement.mounts(WHERE)[-1][1] == [
        *("mount", "-t", "devfs", "-o", "ruleset=64711", "devfs", f"{WHERE.root}/dev"),
    ]
    assert confinement.create(WHERE, decide(["CAP_CHOWN"])) == [
        *("jail", "-c", "name=bspriv-x", f"path={WHERE.root}", "host.hostname=bspriv-x", "persist"),
        *("devfs_ruleset=64711", "ip4=disable", "ip6=disable", "enforce_statfs=2"),
        *("allow.noset_hostname", "allow.noreserved_ports", "allow.nounprivileged_proc_debug"),
    ]
    assert confinement.enter(WHERE, ["x", "y"]) == ["jexec", "bspriv-x", "x", "y"]


def test_mount_points_are_read() -> None:
    text = "zroot/ROOT/default\t/\t\tzfs\trw 0 0\ndevfs /dev devfs rw 0 0\nx /a\\040b nullfs rw 0 0\n\n"
    assert confinement.mounted(text) == {"/", "/dev", "/a b"}


@pytest.mark.parametrize(
    ("section", "folders"),
    [*itertools.product(["a b", "../x", "", "x;y", "ä"], [[]]), ("x", ["/"]), ("x", ["/a/../b"])],
)
def test_places_that_are_none(section: str, folders: list[str]) -> None:
    with pytest.raises(Refused):
        confinement.place(section, "/var/run/p", 64711, folders)
