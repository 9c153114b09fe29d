"""Security groups changed under live traffic, through the API: what is withdrawn ends, everything else goes on."""

import contextlib
import socket
from typing import Any

import pytest

from .conftest import until
from .guest import Guest
from .test_first_server import address, connects, gateway, pinging, port, server  # noqa: F401 - fixtures among them

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]
PORT = 2323


def echoes(where: str, opened: list[socket.socket]) -> bool:
    """Keep a connection that answers; the guest's listener takes one at a time, and starts anew after each."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as unless_kept:
        connection = unless_kept.enter_context(socket.create_connection((where, PORT), timeout=3))
        connection.sendall(b"hello")
        if connection.recv(5) == b"hello":
            unless_kept.pop_all()
            opened.append(connection)
            return True
    return False


def answers(connection: socket.socket) -> bool:
    """Whether what is sent comes back in time."""
    connection.sendall(b"there?")
    try:
        return bool(connection.recv(64))
    except TimeoutError:
        return False


def test_an_address_group_changes_under_live_traffic(guest: Guest, demo: Any, address: str, gateway: str) -> None:  # noqa: F811
    """An address leaves the group: its connection ends with it, a ping that another rule allows loses nothing."""
    guest.check(f"(while true; do nc -l -p {PORT} -e cat; done) >/dev/null 2>&1 & echo $! > /run/echo")
    mine = f"{gateway}/32"
    friends = demo.network.create_address_group(name="friends", addresses=["203.0.113.0/24"])
    rule = demo.network.create_security_group_rule(
        security_group_id=demo.network.find_security_group("ping-and-ssh").id,
        direction="ingress", ether_type="IPv4", protocol="tcp", port_range_min=PORT, port_range_max=PORT,
        remote_address_group_id=friends.id,
    )  # fmt: skip
    try:
        with pinging(address) as counted:
            demo.network.add_addresses_to_address_group(friends, [mine])
            opened: list[socket.socket] = []
            until("the member to be let in", lambda: echoes(address, opened), 60)
            with opened[0] as connection:
                demo.network.remove_addresses_from_address_group(friends, [mine])
                connection.settimeout(2)
                until("its connection to end", lambda: not answers(connection), 60)
            assert not connects(address, PORT)
        sent, received = counted
        # one at the end may still be on its way
        assert received >= sent - 1, f"{sent - received} of {sent} pings were lost"
    finally:
        demo.network.delete_security_group_rule(rule)
        demo.network.delete_address_group(friends)
        guest.ends("/run/echo", "nc")
