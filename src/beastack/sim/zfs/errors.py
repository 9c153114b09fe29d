"""How a command of zfs(8) or zpool(8) ends without success."""


class Refused(Exception):
    """The words for standard error, and the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.text, self.status = text.rstrip("\n") + "\n", status


def not_simulated(program: str, what: str) -> Refused:
    return Refused(f"{program}: {what}: not simulated", 70)


def missing(name: str) -> Refused:
    return Refused(f"cannot open '{name}': dataset does not exist")


def no_pool(name: str) -> Refused:
    return Refused(f"cannot open '{name}': no such pool")
