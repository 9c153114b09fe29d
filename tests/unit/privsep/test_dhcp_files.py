"""dnsmasq reads and writes in a folder of root's; what the agent puts into its own cannot lead it elsewhere."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from oslo_config import cfg

from beastack.freebsd.host import Completed, LocalHost
from beastack.privsep import checks, conf, context, dhcp

NET = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"
ARGUMENTS = ("ns-6f1a4f2e-0c", [], 86400, 256, 1450, 0, 0, [], "", False, False, "")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    ran: list[Sequence[str]] = []

    def run(self: LocalHost, argv: Sequence[str], **kw: object) -> Completed:
        ran.append(argv)
        return Completed(tuple(argv), 0, "", "")

    monkeypatch.setattr(LocalHost, "run", run)
    was = context.default.client_mode
    context.default.set_client_mode(False)
    cfg.CONF([], project="test")
    conf.register(cfg.CONF)
    options = {"dhcp_path": "dhcp", "proxy_path": "own"}
    for option, value in options.items():
        cfg.CONF.set_override(option, str(tmp_path / value), "beastack")
    cfg.CONF.set_override("dnsmasq_user", "root", "beastack")
    folder = tmp_path / "dhcp" / NET
    folder.mkdir(parents=True)
    for name in ("host", "addn_hosts", "opts"):
        (folder / name).write_text(f"{name}\n")
    (folder / "leases").write_text("0 fa:16:3e:00:00:01 10.0.0.5 * *\n")
    yield tmp_path
    for option in (*options, "dnsmasq_user"):
        cfg.CONF.clear_override(option, "beastack")
    context.default.set_client_mode(was)
    assert not any("dhcp/" in word for argv in ran for word in argv)


def start(segment: int | None = None) -> str:
    done: str = dhcp.start_dnsmasq(NET, segment, *ARGUMENTS)
    return done


def test_the_agents_files_are_copied(places: Path) -> None:
    assert start() == "started"
    own = places / "own" / f"{NET}.dnsmasq"
    assert {p.name: p.read_text() for p in own.iterdir()} == {
        "host": "host\n",
        "addn_hosts": "addn_hosts\n",
        "opts": "opts\n",
        "leases": "0 fa:16:3e:00:00:01 10.0.0.5 * *\n",
    }
    assert dhcp.dnsmasq_leases(NET) == "0 fa:16:3e:00:00:01 10.0.0.5 * *\n"


def test_the_later_leases_count(places: Path) -> None:
    start()
    own, given = places / "own" / f"{NET}.dnsmasq" / "leases", places / "dhcp" / NET / "leases"
    own.write_text("dnsmasq's\n")
    os.utime(given, (1, 1))
    start()
    assert own.read_text() == "dnsmasq's\n"
    os.utime(own, (1, 1))
    given.write_text("the agent's\n")
    start()
    assert own.read_text() == "the agent's\n"


@pytest.mark.parametrize("name", ["host", "addn_hosts", "opts", "leases"])
def test_a_link_leads_nowhere(places: Path, name: str) -> None:
    (places / "secret").write_text("secret")
    (places / "dhcp" / NET / name).unlink()
    (places / "dhcp" / NET / name).symlink_to(places / "secret")
    with pytest.raises(checks.Refused):
        start()
    assert not (places / "own" / f"{NET}.dnsmasq").exists()


def test_a_folder_that_is_a_link_is_refused(places: Path) -> None:
    (places / "dhcp" / NET).rename(places / "elsewhere")
    (places / "dhcp" / NET).symlink_to(places / "elsewhere")
    with pytest.raises(checks.Refused):
        start()


def test_a_folder_of_the_agents_is_not_roots(places: Path) -> None:
    (places / "own").mkdir(mode=0o777)
    (places / "own").chmod(0o777)
    with pytest.raises(checks.Refused, match="may write it"):
        start()


def test_another_user_must_be_able_to_read(places: Path) -> None:
    cfg.CONF.set_override("dnsmasq_user", "nobody", "beastack")
    places.chmod(0o700)
    with pytest.raises(checks.Refused, match="cannot search this folder"):
        start()


def test_segments_have_places_of_their_own(places: Path) -> None:
    with pytest.raises(checks.Refused):
        start(7)
    (places / "dhcp" / "7").mkdir()
    (places / "dhcp" / NET).rename(places / "dhcp" / "7" / NET)
    assert start(7) == "started"
    assert (places / "own" / f"{NET}.7.dnsmasq" / "host").exists()


def test_leases_of_what_never_ran_are_none(places: Path) -> None:
    assert dhcp.dnsmasq_leases(NET) == ""
