"""What consoles cost and how quick they are, through nova's proxies of a running cloud.

    .venv/bin/python -m bench.consoles [--name main] [--turns 50] [--viewers 8]

Serial: from a line that is typed to the guest's answer, over a WebSocket. Screen: from a key to the first update of
the picture that it makes, as a VNC client over a WebSocket sees it (Tight encoding, as noVNC's). Memory is PSS. The
guest is the server `first`; nobody else may type meanwhile. Root.
"""

import argparse
import json
import statistics
import struct
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlparse

from websockets.sync.client import connect

from bench import machine

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("nova-serialproxy", "nova-novncproxy", "consoles-fbsd1")
WIDE, HIGH = 1024, 768


def beastack(*arguments: str) -> str:
    return subprocess.run(
        [str(ROOT / "beastack"), *arguments], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def address(name: str, option: str) -> str:
    command = ("--os-cloud", f"{name}-demo", "console", "url", "show", option, "first", "-f", "json")
    return str(json.loads(beastack("openstack", "--name", name, *command))["url"])


class Stream:
    """The bytes of a WebSocket, however they are framed."""

    def __init__(self, url: str) -> None:
        self._open = ExitStack()
        self.socket = self._open.enter_context(connect(url, subprotocols=["binary"], max_size=None))
        self._left = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def exactly(self, size: int) -> bytes:
        while len(self._left) < size:
            data = self.socket.recv(timeout=30)
            self._left += data if isinstance(data, bytes) else data.encode()
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def until(self, text: bytes) -> None:
        while text not in self._left:
            data = self.socket.recv(timeout=30)
            self._left += data if isinstance(data, bytes) else data.encode()
        self._left = self._left.partition(text)[2]


class Screen(Stream):
    """A VNC client: counts what it gets, does not draw it."""

    def __init__(self, url: str) -> None:
        parts = urlparse(url)
        super().__init__(f"ws://{parts.netloc}/{parse_qs(parts.query)['path'][0]}")
        self.bytes = 0
        self.exactly(12)
        self.socket.send(b"RFB 003.008\n")
        self.exactly(2)
        self.socket.send(b"\1")
        self.exactly(4)
        self.socket.send(b"\1")
        self.exactly(struct.unpack("!20xI", self.exactly(24))[0])
        self.socket.send(struct.pack("!BxHi", 2, 1, 7))

    def ask(self, incremental: bool) -> None:
        self.socket.send(struct.pack("!BBHHHH", 3, incremental, 0, 0, WIDE, HIGH))

    def update(self) -> None:
        while self.exactly(1) != b"\0":
            continue  # a bell
        for _ in range(struct.unpack("!xH", self.exactly(3))[0]):
            _, _, width, height, _, _ = struct.unpack("!HHHHiB", self.exactly(13))
            length, shift = 3 * width * height, 0
            if length >= 12:
                length = 0
                for shift in (0, 7, 14):
                    byte = self.exactly(1)[0]
                    length |= (byte if shift == 14 else byte & 0x7F) << shift
                    if not byte & 0x80:
                        break
            self.exactly(length)
            self.bytes += length

    def key(self, symbol: int) -> None:
        for down in (1, 0):
            self.socket.send(struct.pack("!BBxxI", 4, down, symbol))


def serial(url: str, turns: int) -> list[float]:
    found = []
    with Stream(url) as stream:
        stream.socket.send(b"\n")
        for turn in range(turns):
            began = time.monotonic()
            stream.socket.send(f"echo {turn}=$(({turn}+1))=\n".encode())
            stream.until(f"{turn}={turn + 1}=".encode())
            found.append(time.monotonic() - began)
    return found


def screen(url: str, turns: int) -> list[float]:
    found = []
    with Screen(url) as viewer:
        viewer.ask(False)
        viewer.update()
        for turn in range(turns):
            viewer.ask(True)
            began = time.monotonic()
            viewer.key(0x61 if turn % 40 else 0xFF0D)
            viewer.update()
            found.append(time.monotonic() - began)
    return found


def crowd(url: str, name: str, number: int) -> dict[str, int]:
    """Memory while so many viewers have the same screen before them."""
    with ExitStack() as stack:
        for viewer in [stack.enter_context(Screen(url)) for _ in range(number)]:
            viewer.ask(False)
            viewer.update()
        return memory(name)


def whole(url: str) -> tuple[float, int]:
    """Seconds to the first whole picture, from nothing, and its bytes."""
    began = time.monotonic()
    with Screen(url) as viewer:
        viewer.ask(False)
        viewer.update()
        return time.monotonic() - began, viewer.bytes


def memory(name: str) -> dict[str, int]:
    status: dict[str, Any] = json.loads(beastack("status", "--name", name, "--json"))
    return {s["name"]: s["memory"] for s in status["services"]}


def row(what: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    late = ordered[int(len(ordered) * 0.95)]
    return f"| {what} | {1000 * statistics.median(ordered):.0f} ms | {1000 * late:.0f} ms | {len(ordered)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="main")
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--viewers", type=int, default=8)
    options = parser.parse_args()
    before = memory(options.name)
    print(machine.described() + "\n")
    print("| what | median | 95 of 100 | of |\n| --- | ---: | ---: | ---: |")
    print(row("serial: a line to its answer", serial(address(options.name, "--serial"), options.turns)))
    url = address(options.name, "--novnc")
    firsts = [whole(url) for _ in range(5)]
    print(row("screen: from nothing to the first picture", [seconds for seconds, _ in firsts]))
    print(row("screen: a key to the picture", screen(url, options.turns)))
    during = crowd(url, options.name, options.viewers)
    after = memory(options.name)
    print(f"\nA picture of {WIDE}x{HIGH} with some text: {firsts[0][1] / 1000:.1f} kB.")
    print(f"\n| memory (PSS), MB | before | {options.viewers} viewers | after |\n| --- | ---: | ---: | ---: |")
    for service in (*SERVICES, "all services"):
        taken = [sum(m.values()) if service == "all services" else m[service] for m in (before, during, after)]
        print(f"| {service} | {' | '.join(f'{size / 1e6:.0f}' for size in taken)} |")


if __name__ == "__main__":
    main()
