"""Both sides of the package seam, without touching the machine's packages."""

from collections.abc import Sequence

import pytest

from beastack.cloud.platform.packages import Answer, Apt, PackageError, Pkg


class Recorder:
    def __init__(self, answers: dict[str, Answer]) -> None:
        self.answers = answers
        self.calls: list[list[str]] = []

    def __call__(self, argv: Sequence[str], limit: float) -> Answer:
        assert limit > 0
        self.calls.append(list(argv))
        for start, answer in self.answers.items():
            if " ".join(argv).startswith(start):
                return answer
        return Answer(0, "", "")


def test_apt_counts_only_what_dpkg_calls_installed() -> None:
    runner = Recorder({"dpkg-query": Answer(1, "haproxy installed\novmf config-files\n", "no package memcached")})
    assert Apt(("haproxy", "ovmf", "memcached"), runner).missing() == ["ovmf", "memcached"]


def test_apt_fetches_lists_then_installs() -> None:
    runner = Recorder({})
    Apt(("ovmf",), runner).install(["ovmf"])
    assert [call[:3] for call in runner.calls] == [["apt-get", "-q", "update"], ["apt-get", "-q", "install"]]
    assert runner.calls[1][-1] == "ovmf"


def test_nothing_missing_runs_nothing() -> None:
    runner = Recorder({})
    Apt(("ovmf",), runner).install([])
    Pkg(("haproxy",), runner).install([])
    assert runner.calls == []


@pytest.mark.parametrize("step", ["apt-get -q update", "apt-get -q install"])
def test_apt_failure_names_command_cause_and_remedy(step: str) -> None:
    runner = Recorder({step: Answer(100, "", "E: Could not get lock /var/lib/dpkg/lock")})
    with pytest.raises(PackageError) as caught:
        Apt(("ovmf",), runner).install(["ovmf"])
    text = str(caught.value)
    assert step in text
    assert "Could not get lock" in text
    assert "Remedy" in text


def test_pkg_asks_each_and_installs_missing() -> None:
    runner = Recorder({"pkg info -e haproxy": Answer(1, "", "")})
    manager = Pkg(("haproxy", "dnsmasq"), runner)
    assert manager.missing() == ["haproxy"]
    manager.install(["haproxy"])
    assert runner.calls[-1] == ["pkg", "install", "-y", "haproxy"]
