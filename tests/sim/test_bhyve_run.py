"""13-bhyve-run on a simulated host: the recorded script with a Linux guest in place of its FreeBSD one."""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import replay
from .conftest import LAB, Host, sim
from .test_bhyve import image as image
from .test_bhyve import pytestmark as pytestmark
from .test_transcripts_guests import LS

LIMIT = 90.0
# What the guest does by itself in the recording, typed here; its own names for what the script types
LOGIN = (
    "n=0; while ! grep -qs 'guest# ' /tmp/con && [ $n -lt 400 ] && [ ! -e /tmp/rc ]; "
    "do sleep 1; n=$((n+1)); done; "
    "echo 'reboot() { busybox reboot -f; }; shutdown() { poweroff; }; "
    "until killall udhcpc 2>/dev/null; do sleep 0.1; done; ip addr add 10.50.0.2/24 dev eth0; "
    'echo GUEST""-UP\' > /tmp/in; '
)
VARIES = [
    *LS,
    (r"^(ls: .*)\n\[exit 2\]$", r"\1\n[exit 1]"),
    (r"/[\w./-]+/guest\.raw", "/vm/mini.img"),
    (r"^(\$ .*ps -o .* -p) \d+", r"\1 PID"),
    (r"^\d+ bhyve: m1$", "PID bhyve: m1"),
    # the shell's own word, when it comes to it
    (r"^Killed\n(bhyve exit status: 137)", r"\1\nKilled"),
    (r"Opened by PID \d+", "Opened by PID N"),
    (r"^root +bhyve +\d+ +\d+ tcp4 +(\S+) +(\S+) *$", r"root bhyve PID FD tcp4 \1 \2"),
    # ps(1) is Linux's own: its columns, and the letters after the first of a state
    (r"^ *PID USER +STAT COMMAND$", "PS"),
    (r"^ *\d+ root +S\w* +bhyve: m1.*", "PID root S bhyve: m1"),
    (r"^ *T\w*$", "T"),
    (r"^(Resident memory|vcpu total runtime|total number of vm exits)( +\t)\d+$", r"\1\2N"),
]


def adapted(text: str, image: Path, tmp: Path) -> str:
    """Its own folder for files, more patience in smaller steps, and a first login."""
    login = LOGIN.replace("/tmp/", f"{tmp}/")
    text = text.replace("/tmp/", f"{tmp}/")
    for old, new in (
        ("[ $n -lt 60 ]", "[ $n -lt 200 ]"),
        ("-lt ${1:-60}", "-lt 200"),
        ("n=0; while ! grep -q GUEST-UP", f"{login}n=0; while ! grep -q GUEST-UP"),
        ("IMG=${1:-/vm/mini.img}", f"IMG={image}"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return text


def parts(text: str) -> list[str]:
    """The script in three that need nothing of each other: each begins where a guest is loaded anew."""
    head, *sections = re.split(r"^(?=say )", text, flags=re.M)
    assert len(sections) == 14
    middle = next(n for n, one in enumerate(sections) if one.startswith('say "the guest powers off"'))
    late = next(n for n, one in enumerate(sections) if one.startswith('say "bhyvectl --force-poweroff"'))
    return [head + "".join(some) for some in (sections[:middle], sections[middle:late], sections[late:])]


def play(number: int, text: str, image: Path, tmp: Path) -> str:
    """What one part printed on a host of its own."""
    tmp.mkdir()
    directory = LAB / f"play13{number}"
    sim("host", "start", "--dir", str(directory), "--name", "freebsd")
    try:
        own = directory / "guest.raw"
        shutil.copyfile(image, own)
        (tmp / "sleep").write_text('#!/bin/sh\nexec /bin/sleep "$(($1 / 5)).$(($1 % 5 * 2))"\n')
        (tmp / "sleep").chmod(0o755)
        (tmp / "case.sh").write_text(adapted(text, own, tmp))
        output = tmp / "output"
        try:  # into a file: what the script leaves in the background holds a pipe open
            Host(directory).run(f"PATH={tmp}:$PATH sh {tmp}/case.sh > {output} 2>&1", LIMIT)
        except subprocess.TimeoutExpired:
            return f"{output.read_text(errors='replace')}\n(did not end)"
        return output.read_text(errors="replace").replace("\0", "")
    finally:
        sim("host", "stop", "--dir", str(directory))


def test_case(lab: None, image: Path, tmp_path: Path) -> None:
    texts = parts((replay.DATA / "13-bhyve-run.sh").read_text())
    with ThreadPoolExecutor(len(texts)) as pool:
        played = [pool.submit(play, n, text, image, tmp_path / str(n)) for n, text in enumerate(texts)]
        output = "".join(one.result(LIMIT + 30) for one in played)
    report = replay.script("13-bhyve-run", output, VARIES)
    replay.REPORT.append(report)
    assert not report.differences, "\n".join(report.differences)
