"""iscsictl(8) and pciconf(8) in the forms of their sources (no transcript shows them)."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from beastack.freebsd import iscsi, pci
from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.host import Completed, JailHost

# usr.bin/iscsictl/iscsictl.c and periphs.c, kernel_list() with --libxo json
LISTED = json.dumps(
    {
        "iscsictl": {
            "session": [
                {
                    "name": "iqn.2010-10.org.openstack:volume-1",
                    "portal": "10.0.0.1",
                    "state": "Connected",
                    "devices": {
                        "lun": [{"lun": 0, "device": "da0"}, {"lun": 1, "device": "da3"}, {"lun": 1, "device": "ses1"}],
                        "scbus": 3,
                        "bus": 0,
                        "target": 0,
                    },
                },
                {"name": "iqn.x:2", "portal": "10.0.0.2:3261", "state": "Login failed"},
            ]
        }
    }
)
PCICONF = (
    "hostb0@pci0:0:0:0:\tclass=0x060000 rev=0x02 hdr=0x00 vendor=0x8086 device=0x1237 subvendor=0x1af4"
    " subdevice=0x1100\n"
    "ppt0@pci0:1:0:1:\tclass=0x020000 rev=0x01 hdr=0x00 vendor=0x8086 device=0x1572 subvendor=0x8086"
    " subdevice=0x0001\n"
)


class Host:
    """Answers with what was prepared."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.ran: list[list[str]] = []

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20.0, check: bool = True
    ) -> Completed:
        self.ran.append(list(argv))
        return Completed(tuple(argv), 0, self.answers.get(argv[0], "") if "-L" in argv or "-l" in argv else "", "")

    def jail(self, name: str) -> JailHost:
        return JailHost(self, name)


def test_sessions_and_their_disks() -> None:
    first, second = iscsi.parse_sessions(LISTED)
    assert (first.state, first.disks) == ("Connected", {0: "da0", 1: "da3"})
    assert (second.portal, second.state, second.disks) == ("10.0.0.2:3261", "Login failed", {})
    assert iscsi.parse_sessions('{"iscsictl": {}}') == []


@pytest.mark.parametrize("text", ["", "iscsictl: ISCSISLIST", "{}", '{"iscsictl": {"session": 3}}', LISTED[:-3]])
def test_what_cannot_be_read_is_not_no_session(text: str) -> None:
    with pytest.raises(UnexpectedOutput):
        iscsi.parse_sessions(text)


def test_a_row_of_another_type_is_refused() -> None:
    with pytest.raises(UnexpectedOutput):
        iscsi.parse_sessions('{"iscsictl": {"session": [{"name": 5}]}}')


def test_a_session_is_found_with_and_without_the_usual_port() -> None:
    host = Host(iscsictl=LISTED)
    assert iscsi.find(host, iscsi.Login("iqn.2010-10.org.openstack:volume-1", "10.0.0.1:3260")) is not None
    assert iscsi.find(host, iscsi.Login("iqn.2010-10.org.openstack:volume-1", "10.0.0.9:3260")) is None
    assert iscsi.find(host, iscsi.Login("iqn.x:2", "10.0.0.2:3261")) is not None


def test_sessions_come_from_a_file_and_go_by_their_target() -> None:
    host = Host(iscsictl=LISTED)
    iscsi.add(host, "volume-1", "/root-only/iscsi.conf")
    iscsi.remove(host, "iqn.x:2")
    iscsi.remove(host, "iqn.x:gone")
    assert [line for line in host.ran if "-L" not in line] == [
        ["iscsictl", "-A", "-n", "volume-1", "-c", "/root-only/iscsi.conf"],
        ["iscsictl", "-R", "-t", "iqn.x:2"],
    ]


def test_the_configuration_is_that_of_iscsi_conf() -> None:
    text = iscsi.Login("iqn.x:v", "[fd00::1]:3260", "user", "s3cret!").configuration("volume-1")
    assert text == (
        'volume-1 {\n\tTargetName = "iqn.x:v"\n\tTargetAddress = "[fd00::1]:3260"\n\tAuthMethod = CHAP\n'
        '\tchapIName = "user"\n\tchapSecret = "s3cret!"\n}\n'
    )
    assert "chap" not in iscsi.Login("iqn.x:v", "10.0.0.1:3260").configuration("v")


@pytest.mark.parametrize(
    "values",
    [
        {"target": "x"},
        {"target": 'iqn.x:v"\n}'},
        {"portal": "10.0.0.1"},
        {"portal": "host:3260"},
        {"user": "u"},
        {"secret": "s"},
        {"user": "u", "secret": 'a"b'},
        {"user": "u", "secret": "a\nb"},
        {"user": "a b", "secret": "s"},
    ],
)
def test_logins_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        iscsi.Login(**{"target": "iqn.x:v", "portal": "10.0.0.1:3260", **values})
    with pytest.raises(ValueError):
        iscsi.Login("iqn.x:v", "10.0.0.1:3260").configuration("a {")


def test_devices() -> None:
    host = Host(pciconf=PCICONF)
    found = pci.find(host, 1, 0, 1)
    assert (found.driver, found.unit, found.vendor, found.product, found.kind) == ("ppt", 0, "8086", "1572", "020000")
    assert pci.find(host, 0, 0, 0).driver == "hostb"
    with pytest.raises(pci.NoSuchDevice):
        pci.find(host, 1, 0, 0)
    for text in ("x\n", PCICONF.replace("class=", "klass="), "ppt0@pci0:1:0:\n"):
        with pytest.raises(UnexpectedOutput):
            pci.parse_list(text)
