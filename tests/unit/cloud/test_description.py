import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.cloud import description
from beastack.cloud.errors import CloudError
from beastack.cloud.host import provider
from beastack.cloud.layout import Layout

CLOUDS = Path(__file__).resolve().parents[3] / "clouds"


@pytest.mark.parametrize("path", sorted(CLOUDS.glob("*.toml")), ids=lambda p: p.name)
def test_every_description_of_ours_is_right(path: Path) -> None:
    cluster = description.read(path)
    assert cluster.host[0].name == "fbsd1"


def test_without_a_description_there_is_one_host_as_in_all_in_one() -> None:
    assert description.Cluster() == description.read(CLOUDS / "all-in-one.toml")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('name = "two"\n[[host]]\nname = "Bad Name"\n', 3, "host.0.name"),
        ('[[host]]\nname = "a"\n\n[[host]]\nname = "b"\nroles = ["compute", "cook"]\n', 6, "compute"),
        ('[[host]]\nname = "a"\n[[host]]\nname = "b"\ncolor = "red"\n', 5, "there is no such setting"),
        ('[[host]]\nroles = ["compute", "network"]\n', 1, "Field required"),
        ('[[physical_network]]\nname = "p"\nvlans = "9:5"\n', 1, "no range within 1:4094"),
        ('[[host]]\nname = "a"\n[[host]]\nname = "a"\n', 1, "'a' is there twice"),
        ('[[host]]\nname = "a"\nphysical_networks = ["nope"]\n', 1, "there is no physical network 'nope': physnet1"),
        ('[[host]]\nname = "a"\nroles = ["compute"]\n', 1, "no host has the role 'network'"),
        (
            '\nswitch = "openvswitch"\n[[physical_network]]\nname = "p"\n',
            2,
            "has no vxlan here (docs/decisions/0006-openv",
        ),
        ('name = "two"\n\nswitch = "ovn"\n', 3, "switch: Input should be 'if_bridge' or 'openvswitch'"),
        ("switch = 4\n", 1, "switch: "),
        ('[[host]]\nname = "a"\nhypervisor = "xen"\n', 3, "'bhyve' or 'libvirt'"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(CloudError) as raised:
        description.parse(text, "x.toml")
    assert raised.value.message.startswith(f"x.toml, line {line}: ")
    assert words in raised.value.message


def test_a_file_that_is_no_toml_says_where() -> None:
    with pytest.raises(CloudError, match=r"x\.toml: .*line 2"):
        description.parse("a = 1\nb = = 2\n", "x.toml")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(CloudError, match="cannot be read"):
        description.read(tmp_path / "none.toml")


def test_cards_are_numbered_by_the_clouds_physical_networks() -> None:
    text = '[[physical_network]]\nname = "a"\n[[physical_network]]\nname = "b"\n[[host]]\nname = "h"\n'
    one = description.parse(text + 'physical_networks = ["b"]\n', "x")
    assert one.cards(one.host[0]) == {"b": "em1"}
    every = description.parse(text, "x")
    assert every.cards(every.host[0]) == {"a": "em0", "b": "em1"}


def test_the_switch_is_if_bridge_said_or_not() -> None:
    assert description.parse('switch = "if_bridge"\n', "x") == description.Cluster()


def test_the_document_that_a_refusal_names_is_there() -> None:
    assert description.parse('switch = "openvswitch"\n', "x").switch == "openvswitch"
    with pytest.raises(CloudError) as raised:
        description.parse('\nswitch = "openvswitch"\n[[physical_network]]\nname = "p"\n', "x")
    named = re.search(r"docs/\S+\.md", raised.value.message)
    assert named and (CLOUDS.parent / named[0]).is_file()


@given(st.text())
def test_whatever_the_file_holds_it_is_a_cluster_or_one_kind_of_error(text: str) -> None:
    with suppress(CloudError):
        description.parse(text, "x")


@given(st.text(), st.lists(st.one_of(st.text(), st.integers(0, 9)), max_size=4))
def test_the_line_is_always_one_of_the_file(text: str, location: list[str | int]) -> None:
    assert 1 <= description.line_of(text, tuple(location)) <= max(1, len(text.splitlines()))


def test_a_simulated_host_has_no_libvirt(tmp_path: Path) -> None:
    cluster = description.Cluster(host=[description.Host(name="fbsd1", hypervisor="libvirt")])
    with pytest.raises(CloudError, match="no libvirt with a driver for bhyve"):
        provider(Layout("x", tmp_path, 7), cluster, "linux")
    assert provider(Layout("x", tmp_path, 7), cluster, "freebsd15")
