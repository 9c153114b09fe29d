"""Runs the programs that an image is built with."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from beastack.cloud.guestimage.errors import BuildFailed

_SECONDS = 300.0


def run(argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run one program to its end and return its standard output, or raise BuildFailed with its words."""
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise BuildFailed(f"{argv[0]}: not installed (see beastack.cloud.guestimage.PACKAGES)") from error
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"{' '.join(argv)}: no end after {_SECONDS:.0f} s") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip()
        raise BuildFailed(f"{' '.join(argv)}: exit {done.returncode}: {words}")
    return done.stdout
