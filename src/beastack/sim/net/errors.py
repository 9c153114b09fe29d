"""Owns the one exception by which a FreeBSD program fails: its words and its exit status."""


class Failed(Exception):
    """The program ends now: `text` goes to standard error as it stands, `status` is its exit status."""

    def __init__(self, text: str, status: int = 1, out: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.out = out


def not_simulated(program: str, what: str) -> Failed:
    """What the simulator does not know it refuses, so that no driver believes it was done."""
    return Failed(f"{program}: not simulated: {what}")
