"""bhyve's command line: the recorded dumps and errors of the real program, word for word."""

import re
import shlex
from pathlib import Path

import pytest

from beastack.sim.bhyve import bhyvectl, options
from beastack.sim.bhyve.errors import Ended
from beastack.sim.bhyve.run import Guest

DATA = Path(__file__).resolve().parents[3] / "data" / "freebsd-15.1" / "10-bhyve.txt"
_STEP = re.compile(r"^\$ (bhyve(?:ctl)? [^\n]*)\n(.*?)(?=^[$#])", re.M | re.S)


def _steps() -> list[tuple[list[str], str, int]]:
    found = []
    for command, text in _STEP.findall(DATA.read_text()):
        end = re.search(r"\[exit (\d+)\]\n$", text)
        argv = [word for word in shlex.split(command) if word != "2>&1"]
        found.append((argv, text[: end.start()] if end else text, int(end[1]) if end else 0))
    return found


@pytest.mark.parametrize(("argv", "text", "status"), _steps())
def test_as_recorded(argv: list[str], text: str, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BEASTACK_SIM", str(tmp_path))
    # the recording's host could not load vmm(4)
    monkeypatch.setattr("beastack.sim.bhyve.vmm.loaded", lambda: False)
    if argv[0] == "bhyvectl":
        got_status, out, err = bhyvectl.run(argv[1:])
        assert (err + out, got_status) == (text, status)
        return
    with pytest.raises(Ended) as caught:
        Guest(options.parse(argv[1:])).run()
    assert (caught.value.err + caught.value.out, caught.value.status) == (text, status)


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (["-Z", "m"], 1, "bhyve: illegal option -- Z\nUsage:"),
        (["-c"], 1, "bhyve: option requires an argument -- c\nUsage:"),
        (["a", "b"], 1, "Usage:"),
        ([], 1, "Usage:"),
        (["-c", "x=1", "m"], 64, "bhyve: invalid cpu topology 'x=1'"),
        (["-o", "novalue", "m"], 64, "bhyve: invalid configuration option 'novalue'"),
        (["-s", "40,virtio-blk,/x", "m"], 4, 'Invalid PCI slot info field "40,virtio-blk,/x"'),
        (["-s", "3,lpc", "-s", "3,lpc", "m"], 4, "pci slot 0:3:0 already occupied!"),
        (["-m", "lots", "-l", "bootrom,/x", "m"], 64, "bhyve: invalid memsize 'lots'"),
        (["-c", "3,sockets=2", "m"], 4, "does not match 3 vCPUs"),
        (["-s", "3,passthru,1/0/0", "-l", "bootrom,/x", "m"], 4, "passthru: not simulated"),
        (["-l", "bootrom,/nonexistent.fd", "m"], 4, 'Error opening bootrom "/nonexistent.fd": No such file'),
    ],
)
def test_refused(argv: list[str], status: int, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BEASTACK_SIM", str(tmp_path))
    with pytest.raises(Ended) as caught:
        Guest(options.parse(argv)).run()
    assert caught.value.status == status
    assert words in caught.value.err


def test_variables_are_replaced() -> None:
    config = options.parse(["-o", "x=%(name)-disk", "m7"])
    assert config.get("x") == "m7-disk"
