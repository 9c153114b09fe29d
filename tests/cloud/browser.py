"""A real browser without a window, driven by its own protocol (Chrome DevTools Protocol), and pictures of its."""

import base64
import json
import os
import re
import signal
import struct
import subprocess
import tempfile
import time
import zlib
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect

PROGRAM = "chromium-headless-shell"
_START_SECONDS = 30
_ANSWER_SECONDS = 60
_KEYS = {"\n": ("Enter", "Enter", "\r"), " ": (" ", "Space", " "), "/": ("/", "Slash", "/"), "-": ("-", "Minus", "-")}


@dataclass(frozen=True)
class Image:
    """Rows of red, green, blue."""

    width: int
    height: int
    rows: tuple[bytes, ...]

    def part(self, x: int, y: int, width: int, height: int) -> "Image":
        """A part of it."""
        return Image(width, height, tuple(row[3 * x : 3 * (x + width)] for row in self.rows[y : y + height]))

    def colours(self) -> dict[bytes, int]:
        """How often each colour stands there."""
        found: dict[bytes, int] = {}
        for row in self.rows:
            for at in range(0, len(row), 3):
                pixel = row[at : at + 3]
                found[pixel] = found.get(pixel, 0) + 1
        return found

    def changed(self, other: "Image") -> int:
        """How many pixels are others; all when the size is another one."""
        if (self.width, self.height) != (other.width, other.height):
            return self.width * self.height
        return sum(
            a[at : at + 3] != b[at : at + 3]
            for a, b in zip(self.rows, other.rows, strict=True)
            if a != b
            for at in range(0, len(a), 3)
        )


def read_png(data: bytes) -> Image:
    """An 8-bit PNG with or without transparency (RFC 2083), not interlaced: what Chromium writes."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, packed, size = 8, b"", (0, 0, 0, 0)
    while at < len(data):
        length, kind = struct.unpack("!I4s", data[at : at + 8])
        if kind == b"IHDR":
            size = struct.unpack("!IIBB", data[at + 8 : at + 18])
        elif kind == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += length + 12
    width, height, depth, colour = size
    assert depth == 8
    channels = {2: 3, 6: 4}[colour]
    raw, line = zlib.decompress(packed), channels * width
    before, rows = bytearray(line), []
    for number in range(height):
        start = number * (line + 1)
        row = _unfilter(raw[start], bytearray(raw[start + 1 : start + 1 + line]), before, channels)
        before = row
        colours = bytearray(3 * width)
        for channel in range(3):
            colours[channel::3] = row[channel::channels]
        rows.append(bytes(colours))
    return Image(width, height, tuple(rows))


def _unfilter(kind: int, row: bytearray, above: bytearray, step: int) -> bytearray:
    if kind == 0 or (kind == 2 and not any(above)):
        return row
    for at in range(len(row)):
        left = row[at - step] if at >= step else 0
        up, corner = above[at], above[at - step] if at >= step else 0
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        else:
            near = left + up - corner
            guess = min((left, up, corner), key=lambda each: abs(near - each))
        row[at] = (row[at] + guess) & 255
    return row


class Browser:
    """One page."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._number = 0

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="beastack-browser-")
        argv = [
            PROGRAM,
            # the tests are root's, whose sandbox Chromium refuses; the page is our own
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-port=0",
            f"--user-data-dir={self._folder.name}",
            "--window-size=1100,860",
            "about:blank",
        ]
        self._log = Path(self._folder.name) / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        try:
            self._open = ExitStack()
            self._channel = self._open.enter_context(connect(self._address(), max_size=None))
            target = self._ask("Target.createTarget", {"url": "about:blank"})["targetId"]
            session = self._ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
            self._session: str | None = session
            self.ask("Page.enable")
            self.ask("Page.navigate", {"url": self._url})
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._end()

    def _end(self) -> None:
        # Debian's program is a script that stays before the browser, which has processes of its own: one session
        deadline = time.monotonic() + 10
        with suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.poll()
                time.sleep(0.02)
        self._folder.cleanup()

    def _address(self) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            found = re.search(r"DevTools listening on (ws://\S+)", self._log.read_text(errors="replace"))
            if found:
                return found[1]
            assert self._process.poll() is None, self._log.read_text(errors="replace")[-1000:]
            assert time.monotonic() < deadline, "the browser does not come up"
            time.sleep(0.05)

    def _ask(self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        self._number += 1
        request: dict[str, Any] = {"id": self._number, "method": method, "params": parameters or {}}
        if session:
            request["sessionId"] = session
        self._channel.send(json.dumps(request))
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            answer = json.loads(self._channel.recv(timeout=max(0.1, deadline - time.monotonic())))
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def ask(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """One command of the protocol to the page."""
        return self._ask(method, parameters, self._session)

    def value(self, expression: str) -> Any:
        """What an expression is in the page."""
        return self.ask("Runtime.evaluate", {"expression": expression, "returnByValue": True})["result"].get("value")

    def picture(self, save: Path | None = None) -> Image:
        """What the page looks like."""
        data = base64.b64decode(self.ask("Page.captureScreenshot", {"format": "png"})["data"])
        if save is not None:
            save.write_bytes(data)
        return read_png(data)

    def place(self, selector: str) -> tuple[int, int, int, int]:
        """Where an element is: x, y, width, height."""
        element = f"document.querySelector('{selector}').getBoundingClientRect()"
        x, y, width, height = self.value(f"(() => {{ const r = {element}; return [r.x, r.y, r.width, r.height] }})()")
        return round(x), round(y), round(width), round(height)

    def type(self, text: str) -> None:
        """Press and release a key for each letter."""
        for letter in text:
            key, code, sign = _KEYS.get(letter) or (letter, f"Key{letter.upper()}", letter)
            for kind in ("keyDown", "keyUp"):
                parameters = {"type": kind, "key": key, "code": code, "text": sign if kind == "keyDown" else ""}
                self.ask("Input.dispatchKeyEvent", parameters)
