"""`beastack-guest`: run the supervisor of one guest, or talk to it. Standard library only."""

import argparse
import contextlib
import json
import os
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path

from beastack.freebsd import bhyve, bhyve_json
from beastack.freebsd.process import start_mark
from beastack.nova.guest.bhyve_child import run_tool, say
from beastack.nova.guest.line import LineHolder
from beastack.nova.guest.supervisor import Supervisor
from beastack.privsep import guest_files
from beastack.privsep.guest_files import GuestFileError, GuestState

EXIT_BAD_MACHINE = 2
EXIT_TAKEN = 3
_LOG_LIMIT = 1 << 20


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="beastack-guest", description="One bhyve guest and its supervisor.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="supervise the guest until it ends")
    run.add_argument("--machine", default="", help="description of the machine; - is standard input")
    run.add_argument("--detach", action="store_true", help="go into the background, words to supervisor.log")
    attach = commands.add_parser("attach", help="the serial console; Ctrl-] leaves it")
    attach.add_argument("--linger", type=float, default=1.0, help="quiet seconds after the end of a piped input")
    line = commands.add_parser("line", help="hold the serial line of a guest that libvirt runs, in the background")
    line.add_argument("--device", required=True, help="the guest's side of its null-modem pair, /dev/nmdmNA")
    stop = commands.add_parser("stop", help="press the power button, by force after some seconds")
    stop.add_argument("--grace", type=float, default=60.0)
    reset = commands.add_parser("reset", help="press the reset button")
    status = commands.add_parser("status", help="the state as JSON")
    for each in (run, attach, line, stop, reset, status):
        each.add_argument("--dir", type=Path, required=True, help="the guest's folder")
    return parser


def _capabilities() -> bhyve.Capabilities:
    """What this release's bhyve can do, from sysctl(8)."""
    status, words = run_tool(["sysctl", "-n", "kern.osrelease"])
    found = re.match(r"(\d+)\.(\d+)", words)
    if status or found is None:
        raise bhyve.BadMachine(f"the release of FreeBSD is unknown: sysctl: exit {status}: {words}")
    return bhyve.Capabilities.of_release(int(found[1]), int(found[2]))


def _detach() -> int:
    """Leave the caller's session and streams, all of them (daemon(8) without -f holds a pipe open).

    The caller goes on when the returned descriptor is closed: then the sockets are there.
    """
    ready, told = os.pipe()
    if os.fork():
        os.close(told)
        os.read(ready, 1)  # its end: the supervisor listens, or has ended
        os._exit(0)
    os.close(ready)
    os.setsid()
    if os.fork():
        os._exit(0)
    name = guest_files.SUPERVISOR_LOG
    with contextlib.suppress(FileNotFoundError):
        if os.lstat(name).st_size > _LOG_LIMIT:
            Path(name).rename(f"{name}.1")
    log = guest_files.open_own(name, os.O_WRONLY | os.O_APPEND, 0o640)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)
    return told


def _run(folder: Path, source: str, *, detach: bool) -> int:
    try:
        raw = sys.stdin.buffer.read(bhyve_json.MAX_BYTES + 1) if source == "-" else None
        if raw is None:
            raw = guest_files.read_regular(
                Path(source) if source else folder / guest_files.MACHINE, bhyve_json.MAX_BYTES
            )
        machine = bhyve_json.load(raw.decode())
    except (bhyve.BadMachine, GuestFileError, OSError, UnicodeDecodeError) as error:
        print(f"beastack-guest: {error}", file=sys.stderr)
        return EXIT_BAD_MACHINE
    here = Path()
    try:
        guest_files.enter(folder)
        lock = guest_files.take_lock(here, 1.0)
    except (GuestFileError, OSError) as error:
        print(f"beastack-guest: {folder}: {error}", file=sys.stderr)
        return EXIT_BAD_MACHINE
    if lock is None:
        print(f"beastack-guest: {folder}: another supervisor runs this guest", file=sys.stderr)
        return EXIT_TAKEN
    owner = here.stat().st_uid
    try:
        if guest_files.kill_stray(here):
            say("a bhyve without supervisor was ended")
    except GuestFileError as error:
        say(f"what an earlier supervisor left cannot be read: {error}")
    if detach:
        # The state is there before the caller goes on: it never sees that of an earlier life.
        guest_files.write_whole(guest_files.STATE, GuestState(since=time.time()).to_json().encode(), 0o644)
        told = _detach()
    else:
        told = None
    return _supervise(machine, owner if os.geteuid() == 0 and owner != 0 else None, told)


def _supervise(machine: bhyve.Machine, owner: int | None, told: int | None) -> int:
    pid = os.getpid()
    state = GuestState(supervisor_pid=pid, supervisor_mark=start_mark(pid) or "", since=time.time())
    try:
        supervisor = Supervisor(machine, _capabilities(), state, owner)
        supervisor.listen()
        if told is not None:
            os.close(told)
        return 0 if supervisor.run() == "stopped" else 1
    except (bhyve.BadMachine, OSError) as error:
        say(f"failed: {error}")
        state.state, state.reason = "failed", str(error)
        guest_files.write_whole(guest_files.STATE, state.to_json().encode(), 0o644)
        return 1


def _line(folder: Path, device: str) -> int:
    here = Path()
    try:
        guest_files.enter(folder)
        lock = guest_files.take_lock(here, 1.0, guest_files.LINE_LOCK)
        if lock is None:
            print(f"beastack-guest: {folder}: somebody holds this guest's line", file=sys.stderr)
            return EXIT_TAKEN
        owner = here.stat().st_uid
        told = _detach()
        holder = LineHolder(device, owner if os.geteuid() == 0 and owner != 0 else None)  # kqueue(2) survives no fork
        pid = os.getpid()
        state = GuestState("running", supervisor_pid=pid, supervisor_mark=start_mark(pid) or "", since=time.time())
        guest_files.write_whole(guest_files.LINE, state.to_json().encode(), 0o644)
        holder.listen()
        os.close(told)
        holder.run()
    except (bhyve.BadMachine, GuestFileError, OSError) as error:
        print(f"beastack-guest: {folder}: {error}", file=sys.stderr)
        return 1
    return 0


def _talk(folder: Path, request: dict[str, object], seconds: float, until: tuple[str, ...]) -> int:
    try:
        for state in guest_files.ask(folder, request, seconds):
            print(json.dumps(asdict(state)), flush=True)
            if state.state in until:
                break
    except (GuestFileError, TimeoutError) as error:
        print(f"beastack-guest: {error}", file=sys.stderr)
        return 1
    return 0


def _status(folder: Path) -> int:
    try:
        state = guest_files.current_state(folder)
    except GuestFileError as error:
        print(f"beastack-guest: {error}", file=sys.stderr)
        return 1
    if state is None:
        print(f"beastack-guest: {folder}: never started", file=sys.stderr)
        return 1
    print(json.dumps(asdict(state)))
    return 0


def main(argv: list[str] | None = None) -> int:
    """The console script."""
    options = _parser().parse_args(argv)
    folder = options.dir.absolute()
    if options.command == "run":
        return _run(folder, options.machine, detach=options.detach)
    if options.command == "line":
        return _line(folder, options.device)
    if options.command == "attach":
        from beastack.nova.guest.attach import attach

        return attach(folder, options.linger)
    if options.command == "status":
        return _status(folder)
    if options.command == "stop":
        return _talk(folder, {"do": "stop", "grace": options.grace}, options.grace + 30, guest_files.END_STATES)
    return _talk(folder, {"do": "reset"}, 60.0, ("running", *guest_files.END_STATES))


if __name__ == "__main__":
    sys.exit(main())
