"""Owns `beastack-sim`, the only door between a cloud and its simulated hosts."""

import argparse
import ipaddress
import json
import sys
from pathlib import Path

from beastack.sim.host import enter, lab, record, start, stop
from beastack.sim.linux.commands import CommandFailed
from beastack.sim.openvswitch import package


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="beastack-sim", description="Simulated FreeBSD hosts for Linux.")
    subjects = parser.add_subparsers(dest="subject", required=True)

    net = subjects.add_parser("net", help="networks of the lab").add_subparsers(dest="action", required=True)
    up = net.add_parser("up", help="a Linux bridge with an address")
    up.add_argument("--name", required=True)
    up.add_argument("--address", required=True, metavar="CIDR")
    down = net.add_parser("down", help="remove the bridge")
    down.add_argument("--name", required=True)

    packages = subjects.add_parser("packages", help="programs of Debian's that simulated hosts may have")
    packages.add_argument("action", choices=["openvswitch"], help="unpack them below /var/cache/beastack")

    host = subjects.add_parser("host", help="simulated hosts").add_subparsers(dest="action", required=True)
    begin = host.add_parser("start", help="start a host and wait until it answers")
    begin.add_argument("--dir", required=True, type=Path)
    begin.add_argument("--name", required=True)
    begin.add_argument("--nic", action="append", default=[], metavar="NAME=BRIDGE[:CIDR]")
    begin.add_argument("--route", metavar="default=ADDRESS")
    begin.add_argument("--tunable", action="append", default=[], metavar="NAME=VALUE", help="as in loader.conf(5)")
    run = host.add_parser("exec", help="run one command inside")
    run.add_argument("--dir", required=True, type=Path)
    run.add_argument("command", nargs=argparse.REMAINDER)
    end = host.add_parser("stop", help="end a host and everything in it")
    end.add_argument("--dir", required=True, type=Path)
    end.add_argument("--stale", action="store_true", help="after a kill -9; stop does the same without it")
    listing = host.add_parser("list", help="the hosts below the given folders, as JSON")
    listing.add_argument("--dir", action="append", type=Path, default=[])
    return parser


def _default_route(text: str | None) -> str | None:
    if text is None:
        return None
    name, separator, address = text.partition("=")
    if name != "default" or not separator:
        raise start.StartFailed(f"--route {text}: default=ADDRESS is wanted")
    try:
        return str(ipaddress.IPv4Address(address))
    except ValueError as error:
        raise start.StartFailed(f"--route {text}: {error}") from error


def _list(folders: list[Path]) -> None:
    found = []
    roots = folders or [*Path("/var/lib/beastack").glob("*/hosts/*")]
    for root in roots:
        for directory in (root, *sorted(path for path in root.glob("*") if path.is_dir())):
            known = record.read(directory)
            if known is not None:
                found.append({"dir": str(directory), "name": known.name, "pid": known.pid, "alive": known.alive()})
    print(json.dumps(found, indent=1))


def _run(options: argparse.Namespace) -> int:
    match (options.subject, options.action):
        case ("net", "up"):
            lab.network_up(options.name, options.address)
        case ("net", "down"):
            lab.network_down(options.name)
        case ("packages", "openvswitch"):
            print(package.unpack())
        case ("host", "start"):
            nics = [start.Nic.parse(text) for text in options.nic]
            tunables = start.parse_tunables(options.tunable)
            start.start(options.dir, options.name, nics, _default_route(options.route), tunables)
        case ("host", "exec"):
            command = options.command[1:] if options.command[:1] == ["--"] else options.command
            if not command:
                raise enter.NotRunning("host exec: no command given")
            return enter.execute(options.dir, command)
        case ("host", "stop"):
            stop.stop(options.dir)
        case ("host", "list"):
            _list(options.dir)
    return 0


def main() -> None:
    options = _parser().parse_args()
    try:
        status = _run(options)
    except (
        start.StartFailed,
        stop.StopFailed,
        enter.NotRunning,
        CommandFailed,
        package.UnpackFailed,
        OSError,
    ) as error:
        print(f"beastack-sim: {error}", file=sys.stderr)
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
