"""mdconfig(8): memory disks as links in /dev to a file (`-t vnode`) or to an empty one of their own (`-t swap`)."""

import getopt
import os
import re
import sys
from pathlib import Path

from beastack.sim.zfs.errors import Refused
from beastack.sim.zfs.sizes import parse

DEV = Path("/dev")
_UNIT = re.compile(r"(?:md)?(\d+)")


def _ioctl(words: str) -> Refused:
    return Refused(f"mdconfig: ioctl(/dev/mdctl): {words}")


def _node(text: str) -> Path:
    found = _UNIT.fullmatch(text)
    if found is None:
        raise Refused(f"mdconfig: bad unit: {text}")
    return DEV / f"md{found[1]}"


def _free() -> Path:
    return next(node for number in range(4096) if not (node := DEV / f"md{number}").is_symlink())


def attach(given: dict[str, str], own: Path) -> str:
    """The name of the new disk. `own` is the folder for the files of `-t swap`."""
    node = _node(given["-u"]) if "-u" in given else _free()
    if node.is_symlink():
        raise _ioctl("File exists")
    kind = given.get("-t", "vnode" if "-f" in given else "swap")
    if kind == "vnode":
        if "-f" not in given:
            raise Refused("mdconfig: file name expected")
        target = Path(given["-f"])
        if not target.is_file():
            raise Refused(f'mdconfig: could not open "{target}": No such file or directory')
    elif kind in ("swap", "malloc"):
        if "-s" not in given:
            raise Refused(f"mdconfig: must specify -s for -t {kind}")
        own.mkdir(mode=0o700, exist_ok=True)
        target = own / node.name
        target.touch(0o600)
        os.truncate(target, parse(given["-s"]))
    else:
        raise Refused(f"mdconfig: -t {kind}: not simulated", 70)
    node.symlink_to(target.resolve())
    return node.name


def detach(unit: str, own: Path) -> None:
    node = _node(unit)
    if not node.is_symlink():
        raise _ioctl("No such file or directory")
    node.unlink()
    (own / node.name).unlink(missing_ok=True)


def run(argv: list[str], own: Path) -> str:
    """Output; raises Refused with the words and the exit status."""
    try:
        pairs, _rest = getopt.getopt(argv, "adlnt:f:s:u:o:x:y:S:")
    except getopt.GetoptError as error:
        raise Refused(f"mdconfig: {error.msg}") from error
    given = dict(pairs)
    if "-a" in given or ("-f" in given and "-d" not in given):
        name = attach(given, own)
        return "" if "-u" in given else f"{name}\n"
    if "-d" in given:
        detach(given.get("-u", ""), own)
        return ""
    if "-l" in given:
        return "".join(f"{node.name} " for node in sorted(DEV.glob("md[0-9]*"))).rstrip() + "\n"
    raise Refused("usage: mdconfig -a [-n] [-t type] [-f file] [-s size] [-u unit]\n       mdconfig -d -u unit")


def main() -> int:
    directory = os.environ.get("BEASTACK_SIM")
    if not directory:
        sys.stderr.write("mdconfig: BEASTACK_SIM is not set: run inside a simulated host\n")
        return 71
    try:
        sys.stdout.write(run(sys.argv[1:], Path(directory) / "md"))
    except Refused as refused:
        sys.stderr.write(refused.text)
        return refused.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
