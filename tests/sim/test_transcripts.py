"""The simulated host gives FreeBSD's own answers, command by command; every line is compared or exempt by name."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from . import play, replay
from .conftest import LAB, MANAGEMENT, OCTET, PROVIDER, Host, sim

pytestmark = pytest.mark.root

COMMANDS = ["01-interfaces", "02-bridge-vlan", "03-jails", "04-pf"]
SCRIPTS = ["05-security-groups", "06-anti-spoofing", "08-router", "14-ipv6-and-limits"]
# What varies in one case only
VARIES: dict[str, list[tuple[str, str]]] = {
    # what the recorded machine's earlier cases had left
    "03-jails": [(r" epair0b\.200 vlan-300", "")],
    "05-security-groups": [(r"^(net\.link\.bridge\.pfil_\w+): \d+ ->", r"\1: N ->")],
    "06-anti-spoofing": [
        (r"\b0000000[0-9a-f]\b", "ID"),
        (r"ngctl\d+ *", "ngctlN "),
        (r'"\[[0-9a-f]+\]:"', '"[N]:"'),
        (r"(Frames|Octets|Evaluations: |Packets: |Bytes: )=?\d+ *", r"\1N "),
    ],
    "08-router": [
        (r"(<- 10\.1\.0\.5:)\d{4,5}", r"\1PORT"),
        (r"\bid \d+, seq \d", "id N, seq N"),
    ],
    "12-dhcp": [
        (r"^\d+( +.*dnsmasq)", r"PID\1"),
        (r"\[\d+\]", "[PID]"),
        (r"^Nov \d\d \d\d:\d\d:\d\d", "DATE"),
        (r"\b17[89]\d{7}\b", "EXPIRY"),
    ],
    # 703: one anchor was left by case 12 before
    "14-ipv6-and-limits": [(r"^70[23]$", "70N"), (r"\b12[45]\d\b", "ALL"), (r"\d\.\d\d (real|user|sys)", r"N \1")],
}
# Network cards that the recorded machine had beside vtnet0
MORE = {"06-anti-spoofing": [f"vtnet1={PROVIDER}"]}


@pytest.mark.parametrize("case", COMMANDS)
def test_commands(case: str, make_host: Callable[..., Host]) -> None:
    host = make_host(f"replay{case[:2]}", f"vtnet0={MANAGEMENT}:100.64.{OCTET}.12/24")
    report = replay.commands(case, host.run, VARIES.get(case, ()))
    replay.REPORT.append(report)
    assert not report.differences, "\n".join(report.differences)


def _play(number: int, case: str) -> replay.Report:
    directory = LAB / f"play{case[:2]}"
    nic = f"vtnet0={MANAGEMENT}:100.64.{OCTET}.{20 + number}/24"
    nics = [word for one in (nic, *MORE.get(case, ())) for word in ("--nic", one)]
    sim("host", "start", "--dir", str(directory), "--name", "freebsd", *nics)
    try:
        return replay.script(case, play.whole(Host(directory), case), VARIES.get(case, ()))
    finally:
        sim("host", "stop", "--dir", str(directory))


@pytest.fixture(scope="module")
def played(lab: None, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[replay.Report]]]:
    """The scripts wait more than they work: those that are asked for are played at the same time."""
    wanted = {item.callspec.params["case"] for item in request.session.items if item.name.startswith("test_script")}
    with ThreadPoolExecutor(len(SCRIPTS)) as pool:
        yield {case: pool.submit(_play, number, case) for number, case in enumerate(SCRIPTS) if case in wanted}


@pytest.mark.parametrize("case", SCRIPTS)
def test_script(case: str, played: dict[str, Future[replay.Report]]) -> None:
    report = played[case].result(play.LIMIT + 30)
    replay.REPORT.append(report)
    assert not report.differences, "\n".join(report.differences)
