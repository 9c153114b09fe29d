# /// script
# requires-python = ">=3.11"
# dependencies = ["pyte", "rich"]
# ///
"""Pictures of real terminal sessions for the docs: `.venv/bin/uv run docs/record.py OUT.svg TITLE -- COMMAND...`.

Each further COMMAND is separated by `--`; they run one after another in one pseudo-terminal and what its screen shows
at the end, scrolled lines included, becomes the picture. `--width` and `--last` (lines) may come first.
"""

import argparse
import io
import os
import pty
import re
import select
import shlex
import sys
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

COLORS = {"brown": "yellow", "default": None}


def play(argv: list[str], screen: pyte.HistoryScreen, width: int, height: int) -> None:
    stream = pyte.ByteStream(screen)
    stream.feed(f"\x1b[1m# {shlex.join(argv)}\x1b[0m\r\n".encode())
    pid, master = pty.fork()
    if pid == 0:
        os.environ |= {"COLUMNS": str(width), "LINES": str(height), "TERM": "xterm-256color"}
        os.execvp(argv[0], argv)  # noqa: S606 - the command to record
    while True:
        if select.select([master], [], [], 600)[0]:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            stream.feed(data)
    os.waitpid(pid, 0)


def text(row: dict[int, pyte.screens.Char], width: int) -> Text:
    line = Text()
    for column in range(width):
        char = row[column]
        color = COLORS.get(char.fg, char.fg)
        if color and color.startswith("bright"):
            color = f"bright_{COLORS.get(color[6:], color[6:])}"
        if color and len(color) == 6 and all(c in "0123456789abcdef" for c in color):
            color = f"#{color}"
        line.append(char.data, Style(color=color, bold=char.bold))
    line.rstrip()
    return line


def main() -> None:
    options, *commands = " ".join("\0" if a == "--" else shlex.quote(a) for a in sys.argv[1:]).split("\0")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("title")
    parser.add_argument("--width", type=int, default=110)
    parser.add_argument("--last", type=int, default=200)
    given = parser.parse_args(shlex.split(options))
    screen = pyte.HistoryScreen(given.width, 50, history=5000, ratio=0.5)
    screen.set_mode(pyte.modes.LNM)
    for command in commands:
        play(shlex.split(command), screen, given.width, 50)
    rows = [*screen.history.top, *(screen.buffer[y] for y in range(screen.cursor.y + 1))]
    lines = [text(row, given.width) for row in rows]
    while lines and not lines[-1].plain:
        lines.pop()
    console = Console(record=True, width=given.width, file=io.StringIO())
    for line in lines[-given.last :]:
        console.print(line, soft_wrap=True)
    # rich would name a font on a server somewhere: the reader's own will do
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title=given.title), flags=re.DOTALL)
    Path(given.out).write_text(svg)


if __name__ == "__main__":
    main()
