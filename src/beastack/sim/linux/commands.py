"""Owns how the root namespace's `ip` is called: as a list, with a limit, with its words in the error."""

import subprocess

LIMIT = 15.0


class CommandFailed(Exception):
    """A Linux command failed; the text says which and how."""


def ip(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["ip", *arguments], capture_output=True, text=True, timeout=LIMIT, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandFailed(f"ip {' '.join(arguments)}: {error}") from error
    if done.returncode != 0:
        raise CommandFailed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
