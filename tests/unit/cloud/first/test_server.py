from types import SimpleNamespace
from typing import Any

import pytest

from beastack.cloud.errors import CloudError
from beastack.cloud.first import server

FIRST_BOOT = "beastack-guest: up\nbeastack-guest: address 198.18.0.9/24\nbeastack-guest: metadata uuid old\n"


def cloud(console: str = "", **of_server: Any) -> Any:
    found = SimpleNamespace(**({"id": "u-1", "status": "ACTIVE", "power_state": 1, "fault": None} | of_server))
    compute = SimpleNamespace(
        servers=lambda **_: [found], get_server_console_output=lambda _: {"output": console or None}
    )
    return SimpleNamespace(compute=compute)


def test_words_of_an_earlier_start_do_not_count() -> None:
    assert "address" not in server.since_boot(FIRST_BOOT + "beastack-guest: up\n")
    assert "address 198.18.0.9" in server.since_boot(FIRST_BOOT)


def test_a_guest_that_took_another_address_is_an_error() -> None:
    assert server.wait_lease(cloud(FIRST_BOOT), "198.18.0.9") == "198.18.0.9"
    with pytest.raises(CloudError, match=r"the address 198\.18\.0\.9, Neutron gave 198\.18\.0\.10"):
        server.wait_lease(cloud(FIRST_BOOT), "198.18.0.10")


def test_a_guest_that_is_told_to_be_another_is_an_error() -> None:
    with pytest.raises(CloudError, match="told the guest that it is old"):
        server.wait_metadata(cloud(FIRST_BOOT))
    assert server.wait_metadata(cloud(FIRST_BOOT, id="old")) == "old"


def test_a_broken_server_says_why_and_what_to_do() -> None:
    broken = cloud(status="ERROR", fault={"message": "No valid host was found."})
    for wait in (server.ensure, server.wait_active):
        with pytest.raises(CloudError, match="No valid host was found") as raised:
            wait(broken)
        assert "server delete first" in raised.value.remedy


def test_a_server_that_a_person_switched_off_stays_off() -> None:
    assert server.wait_active(cloud(status="SHUTOFF", power_state=4)) == "SHUTOFF"


def test_active_without_a_running_machine_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ACTIVE_LIMIT", 0.3)
    with pytest.raises(CloudError, match="waited"):
        server.wait_active(cloud(power_state=4))
