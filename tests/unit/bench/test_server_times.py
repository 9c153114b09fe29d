"""What bench/compute reads from the logs of two drivers, and what it makes of it."""

import pytest
from bench.server_times import COLUMNS, Logged, cells, first_and_next, logged, privileged, ratios, row

UUID = "19311360-55b0-47c6-8bc9-2f178716b924"
OTHER = "df400314-8375-42cd-bc66-6f7fd0faa1cb"


def line(second: str, words: str, uuid: str = UUID) -> str:
    return f"2026-11-21 11:53:{second} 66 INFO nova.some.module [None req-1 a b - - d d] [instance: {uuid}] {words}"


LOG = [
    line("05.000", "Attempting claim on node linux1: memory 256 MB, disk 1 GB, vcpus 1 CPU", OTHER),
    line("05.500", "Attempting claim on node linux1: memory 256 MB, disk 1 GB, vcpus 1 CPU"),
    line("05.600", "Claim successful on node linux1"),
    line("06.169", "Spawned: image 0.00 s, disk 0.15 s, network 0.12 s, start 0.17 s"),
    line("06.170", "Moments: launch 1795261985.846, launched 1795261985.987, running 1795261986.108"),
    line("07.000", "Spawned: image 9.00 s, disk 9.00 s, network 9.00 s, start 9.00 s", OTHER),
]


def test_a_server_s_lines_are_told_from_another_one_s() -> None:
    said = logged(LOG, UUID)
    assert said.claim == 1795261985.5
    assert said.phases == {"image": 0.0, "disk": 0.15, "network": 0.12, "start": 0.17}
    assert said.moments == {"launch": 1795261985.846, "launched": 1795261985.987, "running": 1795261986.108}


def test_the_first_claim_and_the_last_spawn_count() -> None:
    again = [line("20.000", "Claim successful on node linux1"), line("21.000", "Spawned: image 0.00 s, disk 0.30 s")]
    said = logged(LOG + again, UUID)
    assert said.claim == 1795261985.5
    assert said.phases == {"image": 0.0, "disk": 0.3}


def test_what_the_log_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="network, start, claim"):
        row(0.0, Logged(None, {"image": 0.0, "disk": 0.1}, {}), 1.0, 2.0)


def test_qemu_s_own_start_is_not_outside_of_the_hypervisor() -> None:
    found = row(1795261985.0, logged(LOG, UUID), 1795261985.9, 1795261991.0)
    assert found["scheduling"] == pytest.approx(0.5)
    assert found["hypervisor"] == pytest.approx(0.9)
    # it runs after 1.108 s, of which QEMU had 0.087 s between its start and its answer
    assert found["outside"] == pytest.approx(1.108 - 0.087, abs=1e-4)
    assert found["dhcp"] == pytest.approx(6.0)
    assert set(found) == set(COLUMNS)


def test_bhyve_runs_the_guest_from_its_start_on() -> None:
    said = Logged(100.4, {"image": 0.0, "disk": 0.1, "network": 1.0, "start": 0.2}, {})
    found = row(100.0, said, 101.7, 106.0)
    assert found["outside"] == found["hypervisor"] == pytest.approx(1.7)


def test_privileged_calls_of_one_port() -> None:
    def call(words: str) -> str:
        return f"2026-11-21 12:11:45.012 140 INFO beastack.privsep.audit [-] pid=1 called beastack.privsep.{words}"

    lines = [
        call("interfaces.ensure_tap('tap24d90495-e6', 'beastack:port:24d90495', 1500): done after 0.100 s"),
        call("guard.set_guard('tap24d90495-e6', [['fa:16:3e:98:a2:3d', '198.18.0.131']]): done after 0.250 s"),
        call("guard.set_guard('tap24d90495-e6', []): failed after 0.700 s: no such node"),
        call("guard.set_guard('tap00000000-e6', []): done after 5.000 s"),
        call("pf.replace_table('bs4_ec1385f00950f6d421109193', ['198.18.0.131']): done after 5.000 s"),
        "2026-11-21 12:11:45.012 12 INFO neutron.agent [-] Port tap24d90495-e6 updated: done after 5.000 s",
    ]
    assert privileged(lines, "tap24d90495-e6") == pytest.approx(0.35)


def rows(*factors: float) -> list[dict[str, float]]:
    return [{**dict.fromkeys(COLUMNS, factor), "image": 0.0} for factor in factors]


def test_lines_hold_medians_and_ratios_of_them() -> None:
    assert cells("x", rows(1.0, 9.0, 2.0)) == ["x", "2.00", "0.00", *["2.00"] * 6]
    assert ratios("y", rows(3.0), rows(1.0, 2.0, 9.0)) == ["y", "1.5×", "", *["1.5×"] * 6]


def test_disk_work_of_the_first_and_the_next_servers() -> None:
    assert first_and_next({"image": 1.5, "disk": 0.5}, rows(0.1, 0.2, 0.3)) == (2.0, 0.2)
