"""The simulated host gives FreeBSD's own answers, command by command."""

from collections.abc import Callable

import pytest

from . import replay
from .conftest import MANAGEMENT, Host

pytestmark = pytest.mark.root


@pytest.mark.parametrize("case", ["01-interfaces", "02-bridge-vlan", "03-jails"])
def test_case(case: str, make_host: Callable[..., Host]) -> None:
    host = make_host(f"replay{case[:2]}", f"vtnet0={MANAGEMENT}:100.64.251.12/24")
    found = list(replay.differences(case, host.run))
    assert not found, "\n".join(found)
