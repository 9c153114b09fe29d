"""bhyve, ZFS and privileges: the simulated host against the transcripts; every line is compared or exempt by name."""

from collections.abc import Callable

import pytest

from . import replay
from .conftest import MANAGEMENT, OCTET, Host

pytestmark = pytest.mark.root

COMMANDS = ["10-bhyve", "11-zfs"]
# ls(1) and dd(1) are Linux's own: what they name is compared, not their columns
LS = [
    (r"^[-cbdlps][rwxsStT-]{9}[.+]? .*?(\S+)(?: -> \S+)?$", r"NODE \1"),
    (r"^total \d+\n", ""),
    (r"^ls: cannot access '(.*)': (.*)$", r"ls: \1: \2"),
]
VARIES: dict[str, list[tuple[str, str]]] = {
    "11-zfs": [
        (r"^\d+ bytes (transferred|\(.*\) copied)\b.*", "BYTES"),
        # what is used and left
        (r"^(vms\t603979776)\t\d+\t\d+", r"\1\tN\tN"),
        (r"\t(filesystem|volume)\t\d+\t\d+\t", r"\t\1\tN\tN\t"),
        (r"^vms\t\d+\t\d+\t0\t(\d+)\t0\t\d+$", r"vms\tN\tN\t0\t\1\t0\tN"),
    ],
}


def one_missing_file(run: replay.Run) -> replay.Run:
    """Linux's ls exits 2 where FreeBSD's exits 1."""

    def ran(command: str) -> tuple[str, int]:
        if "nmdm7" in command:  # exempt; would leave a regular file in /dev
            return "", 0
        output, status = run(command)
        return output, 1 if command.startswith("ls ") and status == 2 else status

    return ran


@pytest.mark.parametrize("case", COMMANDS)
def test_commands(case: str, make_host: Callable[..., Host]) -> None:
    host = make_host(f"replay{case[:2]}", f"vtnet0={MANAGEMENT}:100.64.{OCTET}.{40 + int(case[:2])}/24")
    report = replay.commands(case, one_missing_file(host.run), [*LS, *VARIES.get(case, ())])
    replay.REPORT.append(report)
    assert not report.differences, "\n".join(report.differences)
