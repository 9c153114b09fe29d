"""The initiator's sessions; the form is that of iscsictl.c and periphs.c, as no transcript shows one."""

import json

import pytest
from tests.unit.transcripts import FakeHost

from beastack.freebsd import iscsi
from beastack.freebsd.errors import UnexpectedOutput
from beastack.freebsd.iscsi import Login, Session

TARGET, OTHER = "iqn.2010-10.org.openstack:volume-1", "iqn.2010-10.org.openstack:volume-2"
LIST = "iscsictl --libxo json -L"
NONE = '{"__version": "1", "iscsictl": {}}\n'
SESSIONS = json.dumps(
    {
        "__version": "1",
        "iscsictl": {
            "session": [
                {
                    "name": TARGET,
                    "portal": "192.0.2.1:3260",
                    "state": "Connected",
                    "devices": {"lun": [{"lun": 0, "device": "da0"}], "scbus": 3, "bus": 0, "target": 0},
                },
                {"name": OTHER, "portal": "192.0.2.1", "state": "Authentication failure"},
            ]
        },
    }
)


def test_sessions_with_and_without_disks() -> None:
    assert iscsi.parse_sessions(SESSIONS) == [
        Session(TARGET, "192.0.2.1:3260", "Connected", {0: "da0"}),
        Session(OTHER, "192.0.2.1", "Authentication failure", {}),
    ]
    assert iscsi.parse_sessions(NONE) == []


@pytest.mark.parametrize("text", ["", "iscsictl: ISCSISLIST", "{}", '{"iscsictl": {"session": 3}}', SESSIONS[:-3]])
def test_what_cannot_be_read_is_not_none(text: str) -> None:
    with pytest.raises(UnexpectedOutput):
        iscsi.parse_sessions(text)


def test_a_session_is_found_with_the_standard_port_said_or_not() -> None:
    host = FakeHost({LIST: SESSIONS})
    for login in (Login(TARGET, "192.0.2.1:3260"), Login(OTHER, "192.0.2.1:3260")):
        found = iscsi.find(host, login)
        assert found is not None
        assert found.target == login.target
    assert iscsi.find(host, Login(TARGET, "192.0.2.2:3260")) is None


def test_only_what_is_there_is_removed() -> None:
    host = FakeHost({LIST: SESSIONS, f"iscsictl -R -t {TARGET}": ""})
    iscsi.remove(host, TARGET)
    iscsi.remove(host, "iqn.2010-10.org.openstack:volume-3")
    assert host.ran == [LIST, f"iscsictl -R -t {TARGET}", LIST]


def test_secrets_stand_in_the_file_and_nothing_breaks_out_of_it() -> None:
    login = Login(TARGET, "192.0.2.1:3260", "user", "word")
    assert '\tchapSecret = "word"\n' in login.configuration("volume-1")
    assert "chap" not in Login(TARGET, "192.0.2.1:3260").configuration("volume-1")
    for wrong in ('wo"rd', "wo rd", "wo\nrd", "wörd", "w" * 256):
        with pytest.raises(ValueError, match="cannot hold"):
            Login(TARGET, "192.0.2.1:3260", "user", wrong)
    for target, portal in (
        ("iqn.x}", "192.0.2.1:3260"),
        ("disk", "192.0.2.1:3260"),
        (TARGET, "host:3260"),
        (TARGET, ""),
    ):
        with pytest.raises(ValueError, match="is no iSCSI"):
            Login(target, portal)
    with pytest.raises(ValueError, match="nickname"):
        login.configuration("a {")
