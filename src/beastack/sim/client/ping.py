"""ping(8) of a simulated host: FreeBSD's options for Linux's program, and its answers in FreeBSD's words.

Runs on the caller's side. Exit status: 0 an answer came, 2 none (Linux says 1), 64 used wrongly.
"""

import getopt
import os
import re
import signal
import subprocess
import sys

PROGRAM = "/usr/bin/ping"
# FreeBSD's option with a value -> Linux's
VALUED = {"S": "-I", "s": "-s", "i": "-i", "m": "-t", "l": "-l", "p": "-p"}
PLAIN = {"q": "-q", "4": "-4", "6": "-6", "f": "-f", "a": "-a", "D": "-Mdo", "A": "-a", "n": "-n"}

_HEAD4 = re.compile(r"PING (\S+) \((\S+)\)(?: from \S+)?(?: \S+:)? (\d+)\(\d+\) bytes of data\.")
_HEAD6 = re.compile(r"PING (\S+?) ?\((\S+)\)(?: from (\S+))?(?: \S+:)? (\d+) data bytes")
_ANSWER = re.compile(r"(\d+) bytes from (\S+): icmp_seq=(\d+) ttl=(\d+) time=([0-9.]+) ms")
_COUNTS = re.compile(r"(\d+) packets transmitted, (\d+) received,(?: \+(\d+) duplicates,)?.* ([0-9.]+)% packet loss")
_TIMES = re.compile(r"rtt min/avg/max/mdev = ([0-9./]+) ms.*")


def arguments(argv: list[str], program: str) -> list[str]:
    """Linux's arguments for FreeBSD's. Raises getopt.GetoptError for what is not known."""
    pairs, hosts = getopt.getopt(argv, "".join(PLAIN) + "".join(f"{one}:" for one in VALUED) + "c:t:W:o")
    given = dict(pairs)
    if len(hosts) != 1:
        raise getopt.GetoptError("one host is wanted")
    out = [PROGRAM, "-n"]
    if program == "ping6" and "-6" not in given:
        out.append("-6")
    for name, value in pairs:
        if name[1] in PLAIN:
            out.append(PLAIN[name[1]])
        elif name[1] in VALUED:
            out += [VALUED[name[1]], value]
    count = 1 if "-o" in given else int(given["-c"]) if "-c" in given else None
    if count is not None:
        out += ["-c", str(count)]
    if "-t" in given:
        # Linux sends on until its deadline; FreeBSD sends what was asked for and waits for the rest of the time
        rest = float(given["-t"]) - (count - 1) * float(given.get("-i", "1")) if count is not None else 0.0
        out += ["-W", f"{rest:g}"] if rest > 0 else ["-w", given["-t"]]
    elif "-W" in given:
        out += ["-W", f"{float(given['-W']) / 1000:g}"]  # FreeBSD counts milliseconds
    return [*out, hosts[0]]


def words(line: str, six: bool) -> str:
    """One line of Linux's as FreeBSD says it."""
    if found := _HEAD4.fullmatch(line):
        return f"PING {found[1]} ({found[2]}): {found[3]} data bytes"
    if found := _HEAD6.fullmatch(line):
        size = int(found[4])
        return f"PING({size + 48}=40+8+{size} bytes) {found[3] or '::'} --> {found[2]}"
    if found := _ANSWER.match(line):
        number, time = int(found[3]) - 1, f"{float(found[5]):.3f} ms"
        if six:
            return f"{found[1]} bytes from {found[2]}, icmp_seq={number} hlim={found[4]} time={time}"
        return f"{found[1]} bytes from {found[2]}: icmp_seq={number} ttl={found[4]} time={time}"
    if found := _COUNTS.match(line):
        more = f"+{found[3]} duplicates, " if found[3] else ""
        return f"{found[1]} packets transmitted, {found[2]} packets received, {more}{float(found[4]):.1f}% packet loss"
    if found := _TIMES.match(line):
        return f"round-trip min/avg/max/stddev = {found[1]} ms"
    return line


def main() -> int:
    program = os.path.basename(sys.argv[0])  # noqa: PTH119 - pathlib would double the time to start
    try:
        command = arguments(sys.argv[1:], program)
    except (getopt.GetoptError, ValueError) as error:
        sys.stderr.write(f"{program}: not simulated: {error}\n")
        return 64
    six = "-6" in command or ":" in command[-1]
    try:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        sys.stderr.write(f"{program}: {PROGRAM}: {error.strerror}\n")
        return 71
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: child.send_signal(got))
    assert child.stdout is not None  # noqa: S101 - a pipe was asked for
    ended = False
    for line in child.stdout:
        text = line.rstrip("\n")
        ended = ended or text.startswith("---")
        if ended and not text:
            continue  # Linux ends with an empty line, FreeBSD does not
        sys.stdout.write(words(text, six) + "\n")
        sys.stdout.flush()
    status = child.wait()
    return 2 if status == 1 else status


if __name__ == "__main__":
    sys.exit(main())
