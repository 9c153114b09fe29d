"""The one tiny client behind every program of FreeBSD's in DIR/bin: asks the engine and prints its answer.

Run as `python -ISs`; imports as little as it can, because a driver starts it thousands of times.
"""

# pathlib would double the time to start, and becoming a program is the purpose:
# ruff: noqa: PTH100, PTH119, PTH120, S606

import _socket
import os
import sys


def _input(program: str, argv: list[str]) -> tuple[str | None, dict[str, str]]:
    """Standard input and named files, for the programs that read them (`-f FILE`, also in a cluster: `-nf FILE`)."""
    if program == "devfs" and argv[-1:] == ["-"]:
        return sys.stdin.read(), {}
    if program not in ("pfctl", "ngctl"):
        return None, {}
    for position, argument in enumerate(argv):
        if len(argument) < 2 or argument[0] != "-" or "f" not in argument:
            continue
        if program == "pfctl" and argument[:2] in ("-a", "-t", "-T", "-i", "-s", "-k", "-K", "-F", "-p", "-D", "-x"):
            continue
        if position and argv[position - 1] in ("-a", "-t", "-T", "-i", "-s", "-k", "-K", "-F", "-p", "-D", "-x"):
            continue
        name = argument[argument.index("f") + 1 :]
        if not name:
            if position + 1 == len(argv):
                return None, {}
            name = argv[position + 1]
        if name == "-":
            return sys.stdin.read(), {}
        try:
            with open(name, encoding="utf-8", errors="surrogateescape") as source:
                return None, {name: source.read()}
        except OSError as error:
            sys.stderr.write(f"{program}: {name}: {error.strerror}\n")
            sys.exit(1)
    return None, {}


def main() -> int:
    import json

    here = os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0])))
    program, argv = os.path.basename(sys.argv[0]), sys.argv[1:]
    stdin, files = _input(program, argv)
    request = {"prog": program, "argv": argv, "stdin": stdin, "pid": os.getpid(), "files": files}
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    sock.settimeout(600.0)
    folder = os.open(here, os.O_PATH)
    try:
        sock.connect(f"/proc/self/fd/{folder}/engine.sock")
        data = json.dumps(request).encode() + b"\n"
        while data:
            data = data[sock.send(data) :]
        parts = []
        while True:
            part = sock.recv(1 << 20)
            if not part:
                break
            parts.append(part)
    except OSError as error:
        sys.stderr.write(f"{program}: the simulated host's engine in {here} does not answer: {error}\n")
        return 71
    if not parts:
        sys.stderr.write(f"{program}: the simulated host's engine in {here} gave no answer\n")
        return 71
    reply = json.loads(b"".join(parts))
    if "exec" in reply:
        sys.stdout.flush()
        command = reply["exec"]
        try:
            os.execvp(command[0], command)
        except OSError as error:
            sys.stderr.write(f"{program}: {command[0]}: {error.strerror}\n")
            return 1
    # FreeBSD's programs buffer what they print, so their complaints come first
    sys.stderr.write(reply["err"])
    sys.stderr.flush()
    sys.stdout.write(reply["out"])
    sys.stdout.flush()
    return int(reply["rc"])


if __name__ == "__main__":
    sys.exit(main())
