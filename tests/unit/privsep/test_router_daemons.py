"""A router's daemons: started once, told of changes, and nothing forgotten when this side is killed in between."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from oslo_config import cfg

from beastack.freebsd import daemons
from beastack.freebsd.errors import CommandFailed
from beastack.freebsd.host import Completed, LocalHost
from beastack.privsep import conf, context, router_daemons

ROUTER = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
TIMES = dict.fromkeys(("http_request", "connect", "client", "server", "http_keep_alive"), 30)
ADVERT: dict[str, object] = {
    "interface": "qr-6f1a4f2e-0c",
    "mtu": 1450,
    "managed": False,
    "other": False,
    "dns_servers": [],
    "prefixes": [{"network": "fd00::/64", "autonomous": True}],
}


class Programs:
    """What runs, by pid file, and what was done."""

    def __init__(self) -> None:
        self.running: dict[str, str] = {}
        self.log: list[str] = []
        self.broken = ""

    def run(self, argv: Sequence[str], **more: object) -> Completed:
        words = list(argv)
        assert words[:2] == ["jexec", f"qrouter-{ROUTER}"], words
        if words[2] == self.broken:
            raise CommandFailed(words, 1, "", "broken for this test")
        self.log.append(f"start {words[2]}")
        self.running[words[2]] = " ".join(words[2:])
        return Completed(tuple(argv), 0, "", "")

    def find(self, host: object, pid_file: Path, mark: str) -> tuple[int, str] | None:
        command = self.running.get(pid_file.name.split(".")[2])
        return (7, command) if command is not None and mark in command else None

    def end(self, host: object, pid_file: Path, mark: str) -> bool:
        found = self.find(host, pid_file, mark)
        if found is not None:
            del self.running[pid_file.name.split(".")[2]]
            self.log.append(f"end {pid_file.name.split('.')[2]}")
        return found is not None

    def hang_up(self, pid: int) -> bool:
        self.log.append("hang up")
        return True


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Programs]:
    made = Programs()
    monkeypatch.setattr(LocalHost, "run", lambda _, argv, **more: made.run(argv, **more))
    was = context.default.client_mode
    context.default.set_client_mode(False)
    for name in ("find", "end", "hang_up"):
        monkeypatch.setattr(daemons, name, getattr(made, name))
    cfg.CONF([], project="test")
    conf.register(cfg.CONF)
    for option in ("proxy_path", "metadata_socket"):
        cfg.CONF.set_override(option, str(tmp_path / option), "beastack")
    yield made
    context.default.set_client_mode(was)
    for option in ("proxy_path", "metadata_socket"):
        cfg.CONF.clear_override(option, "beastack")


def advertise(mtu: int = 1450) -> str:
    said: str = router_daemons.start_advertiser(ROUTER, [{**ADVERT, "mtu": mtu}], 30, 100)
    return said


def test_the_advertiser_is_started_once_and_told_of_changes(programs: Programs) -> None:
    assert [advertise(), advertise(), advertise(1400), advertise(1400)] == ["started", "running", "reloaded", "running"]
    assert programs.log == ["start radvd", "hang up"]
    assert programs.running["radvd"].endswith("-u nobody")


def test_a_change_that_was_written_but_not_told_is_told(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    advertise()

    def killed(pid: int) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(daemons, "hang_up", killed)
        advertise(1400)
    assert advertise(1400) == "reloaded"
    assert advertise(1400) == "running"


def test_an_advertiser_that_does_not_start_is_tried_again(programs: Programs) -> None:
    programs.broken = "radvd"
    with pytest.raises(CommandFailed):
        advertise()
    programs.broken = ""
    assert advertise() == "started"


def test_what_ends_leaves_no_file(programs: Programs, tmp_path: Path) -> None:
    advertise()
    assert router_daemons.start_router_proxy(ROUTER, TIMES, None) == "started"
    assert router_daemons.advertiser_pid(ROUTER) == router_daemons.router_proxy_pid(ROUTER) == 7
    assert router_daemons.stop_advertiser(ROUTER) and router_daemons.stop_router_proxy(ROUTER)
    assert not router_daemons.stop_advertiser(ROUTER)
    assert list((tmp_path / "proxy_path").iterdir()) == []


def test_other_settings_of_the_proxy_restart_it(programs: Programs, tmp_path: Path) -> None:
    router_daemons.start_router_proxy(ROUTER, TIMES, None)
    assert router_daemons.start_router_proxy(ROUTER, TIMES, None) == "running"
    assert router_daemons.start_router_proxy(ROUTER, {**TIMES, "client": 31}, None) == "restarted"
    assert programs.log == ["start haproxy", "end haproxy", "start haproxy"]
    (file,) = (tmp_path / "proxy_path").glob("*.cfg")
    assert file.stat().st_mode & 0o777 == 0o600
