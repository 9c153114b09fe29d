"""The end of bhyve before its guest has run."""


class Ended(Exception):
    """bhyve ends with this status and these words on standard error (or output)."""

    def __init__(self, status: int, err: str = "", out: str = "") -> None:
        super().__init__(err or out)
        self.status, self.err, self.out = status, err, out


USAGE = 64  # sysexits(3)
ERROR = 4


def device_failed(words: str, reason: str) -> Ended:
    """A device that could not be set up: its own words, then bhyve's."""
    first = f"{words}\n" if words else ""
    return Ended(ERROR, f"{first}Device emulation initialization error: {reason}\n")


def not_simulated(what: str) -> Ended:
    """bhyve could do it, the simulation cannot: said clearly, never left out in silence."""
    return Ended(ERROR, f"bhyve: {what}: not simulated\n")
