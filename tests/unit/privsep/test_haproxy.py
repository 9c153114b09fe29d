"""The metadata proxy's configuration: upstream's text in what matters, and stricter about the guest's headers."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from neutron.agent.metadata import driver_base
from neutron.agent.metadata.driver import HaproxyConfigurator

from beastack.privsep import haproxy
from beastack.privsep.checks import Refused

UUID = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
PROXY = haproxy.Proxy(
    owner=UUID,
    ipv6=False,
    timeouts={"http_request": 30, "connect": 30, "client": 32, "server": 32, "http_keep_alive": 30},
    limits=None,
    socket=Path("/run/metadata.sock"),
    pid_file=Path("/run/pid"),
    user="root",
    log=Path("/dev/log"),
)
LIMITS = {
    "base_window_duration": 10,
    "base_query_rate_limit": 20,
    "burst_window_duration": 5,
    "burst_query_rate_limit": 40,
}


def lines(text: str) -> set[str]:
    return {" ".join(line.split()) for line in text.splitlines() if line.strip()}


def upstream(limits: dict[str, int] | None) -> set[str]:
    class Section(dict[str, object]):
        __getattr__ = dict.__getitem__

    limiting = Section(rate_limit_enabled=limits is not None, ip_versions=[4], **(limits or {}))
    timeouts = {f"timeout_{k}": v for k, v in PROXY.timeouts.items()}
    made = HaproxyConfigurator(
        UUID, None, "/run/metadata.sock", "169.254.169.254", 80, "root", "root", "/x", "/run/pid", limiting, timeouts
    )
    return lines(made.haproxy_cfg)


@pytest.mark.parametrize("limits", [None, LIMITS])
def test_it_says_what_upstream_says(limits: dict[str, int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_base.logging, "is_debug_enabled", lambda _conf: False)
    mine = lines(replace(PROXY, limits=limits).config())
    missing = upstream(limits) - mine
    # the names in the log and the group are ours
    assert {m.split()[0] for m in missing} <= {"log", "log-tag", "group"}
    assert mine - upstream(limits) <= {
        f"log {PROXY.log} local0 info",
        f"log-tag haproxy-metadata-{UUID}",
        "http-request del-header X-Forwarded-For",
    }


def test_a_guest_cannot_say_who_it_is() -> None:
    text = PROXY.config()
    for header in ("X-Forwarded-For", "X-Neutron-Router-ID"):
        assert f"http-request del-header {header}\n" in text
    assert f"http-request set-header X-Neutron-Network-ID {UUID}\n" in text


def test_ipv6_listens_inside_the_jail() -> None:
    assert "bind :::80 v6only" in replace(PROXY, ipv6=True).config()
    assert "bind :::80" not in PROXY.config()


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
@pytest.mark.parametrize("limits", [None, LIMITS])
@pytest.mark.parametrize("ipv6", [False, True])
def test_haproxy_takes_it(tmp_path: Path, limits: dict[str, int] | None, ipv6: bool) -> None:
    file = tmp_path / "cfg"
    file.write_text(replace(PROXY, limits=limits, ipv6=ipv6, log=None).config())
    done = subprocess.run(["haproxy", "-c", "-f", str(file)], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert "ALERT" not in done.stderr


@pytest.mark.parametrize("value", [None, {}, {**PROXY.timeouts, "x": 1}, {**PROXY.timeouts, "client": "1s\n"}])
def test_timeouts_are_exactly_these(value: object) -> None:
    with pytest.raises(Refused):
        haproxy.numbers(value, haproxy.TIMEOUTS, "timeouts")


def test_a_routers_proxy_says_whose_router_and_listens_for_nobody_else() -> None:
    text = replace(PROXY, router=True).config()
    for header in ("X-Forwarded-For", "X-Neutron-Network-ID"):
        assert f"http-request del-header {header}\n" in text
    assert f"http-request set-header X-Neutron-Router-ID {UUID}\n" in text
    assert "bind 127.0.0.1:9697\n" in text and "169.254" not in text
