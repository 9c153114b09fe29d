"""Plays a recorded script whole on a simulated host: a /tmp of its own, and its waits shortened."""

import json
import os
import subprocess
from pathlib import Path

from .conftest import PATH, Host
from .replay import DATA

LIMIT = 150.0
# The recorded machine ran under emulation: what it slept and waited for is there many times sooner here.
_SHIMS = {
    "sleep": 'exec /bin/sleep "$(($1 / 2)).$(($1 % 2 * 5))"',
    "ping": """for word do shift
  case "$before $word" in "-t "*) word="1 -i 0.3" ;; esac
  set -- "$@" $word; before=$word
done
exec "$BEASTACK_SIM/bin/ping" "$@\"""",
}
# The host's folder stays in sight when /tmp is a new one
_PREPARE = """
mount --bind "$BEASTACK_SIM" /mnt && mount -t tmpfs tmp /tmp && mkdir -p "$BEASTACK_SIM" &&
mount --move /mnt "$BEASTACK_SIM" && exec sh "$BEASTACK_SIM/case.sh" 2>&1
"""


def whole(host: Host, case: str, shims: bool = True) -> str:
    """What the script of a case printed, standard error with standard output."""
    text = (DATA / f"{case}.sh").read_text().replace("/root/dnsmasq", "dnsmasq")
    (host.directory / "case.sh").write_text(text)
    folder = host.directory / "shims"
    folder.mkdir(exist_ok=True)
    for name, body in _SHIMS.items() if shims else ():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    pid = str(json.loads((host.directory / "engine.json").read_text())["pid"])
    output = host.directory / "case.out"
    with output.open("w") as sink:
        subprocess.run(
            ["nsenter", "-t", pid, "-m", "-n", "-u", "-p", "--", "unshare", "-m", "sh", "-c", _PREPARE],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            check=False,
            env={
                **os.environ,
                "PATH": f"{folder}:{host.directory}/bin:{PATH}",
                "BEASTACK_SIM": str(host.directory),
                "TERM": "dumb",
            },
        )
    return Path(output).read_text(errors="replace")
