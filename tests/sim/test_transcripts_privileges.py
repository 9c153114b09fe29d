"""09-privilege: what root may do in a jail, by the jail's parameters, for the programs that are simulated.

The case is not run whole: it sets the clock, reads /dev/mem and asks for a reboot, which in a simulated host would be
the machine's. Its lines are run one by one, and only those of our programs.
"""

import re
from collections.abc import Callable

import pytest

from . import replay
from .conftest import MANAGEMENT, OCTET, Host
from .exempt import EXEMPT

pytestmark = pytest.mark.root

CASE = "09-privilege"
# what the case says in each of its headings
JAILS = {
    "plain jail, path=/": "ip4=inherit ip6=inherit",
    "plain jail with": "ip4=inherit ip6=inherit allow.raw_sockets allow.mount allow.mount.tmpfs enforce_statfs=1",
    "vnet jail": "vnet",
    "vnet=inherit": "vnet=inherit",
}


def _answer(host: Host, jail: str, command: str) -> str:
    """As the case's chk(): yes, or no with the last line that was said."""
    (host.directory / "chk.sh").write_text(command)
    out, rc = host.run(f"jexec {jail} sh {host.directory}/chk.sh")
    return f"no   {command}   ({out.splitlines()[-1] if out else ''})" if rc else f"yes  {command}"


def test_09(make_host: Callable[..., Host]) -> None:
    host = make_host("replay09", f"vtnet0={MANAGEMENT}:100.64.{OCTET}.49/24")
    host.ok("kldload -n if_epair if_bridge pf")
    report = replay.Report(CASE)
    replay.REPORT.append(report)
    jail = ""
    for line in (replay.DATA / f"{CASE}.txt").read_text().splitlines():
        if not line:
            continue
        found = re.fullmatch(r"(?:yes|no) +(.*?)(?:   \(.*\))?", line)
        if line.startswith("## "):
            if jail:
                host.ok(f"jail -r {jail}")
            parameters = next((words for head, words in JAILS.items() if line[3:].startswith(head)), "")
            jail = f"p{len(report.case)}" if parameters else ""
            if jail:
                host.ok(f"jail -c name={jail} path=/ persist {parameters}")
                continue
        if any(one.pattern.search(line) for one in EXEMPT[CASE]):
            report.exempt += 1
            continue
        assert found is not None, line
        assert jail, line
        actual = _answer(host, jail, found[1])
        report.add(line, [line], [actual], actual != line)
    assert not report.differences, "\n".join(report.differences)
    assert report.matched > 20
