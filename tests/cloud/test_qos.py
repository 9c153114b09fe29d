"""A limit of what a server sends, through the API: on the host while the port has it, and no longer."""

from typing import Any

import pytest
from openstack.exceptions import ConflictException

from .conftest import NAME, beastack, until
from .test_first_server import address, pings, port, server

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
__all__ = ["address", "port", "server"]


def netgraph(*words: str) -> str:
    """ngctl(8) on the host."""
    return beastack("host", "--name", NAME, "fbsd1", "--", "ngctl", *words, status=None).stdout


def test_a_policy_of_a_port(api: Any, port: Any, address: str) -> None:
    node = f"bsl_tap{port.id[:11]}"
    # policies that nobody would hold floating IPs and routers to are not taken
    offered = {extension.alias for extension in api.network.extensions()}
    assert "qos" in offered
    assert not offered & {"qos-fip", "qos-gateway-ip"}
    policy = api.network.create_qos_policy(name="limited")
    try:
        rule = api.network.create_qos_bandwidth_limit_rule(policy, max_kbps=2000, max_burst_kbps=800)
        api.network.update_port(port, qos_policy_id=policy.id)
        until("the limit", lambda: "upstream={ cbs=50000 cir=2000000 " in netgraph("msg", f"{node}:", "getconf"), 30)
        assert pings(address)
        assert "upstream={ passed=" in netgraph("msg", f"{node}:", "getstats")
        api.network.update_qos_bandwidth_limit_rule(rule, policy, max_kbps=3000)
        until("the new limit", lambda: " cir=3000000 " in netgraph("msg", f"{node}:", "getconf"), 30)
        # what these hosts cannot do is refused while a port of theirs has the policy
        with pytest.raises(ConflictException, match="bandwidth_limit is not supported"):
            api.network.create_qos_bandwidth_limit_rule(policy, max_kbps=2000, direction="ingress")
        with pytest.raises(ConflictException, match="dscp_marking is not supported"):
            api.network.create_qos_dscp_marking_rule(policy, dscp_mark=26)
    finally:
        api.network.update_port(port, qos_policy_id=None)
        api.network.delete_qos_policy(policy)
    until("no limit", lambda: node not in netgraph("list"), 30)
    assert f"bsg_tap{port.id[:11]}" in netgraph("list")
    assert pings(address)
