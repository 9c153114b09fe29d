"""Consoles through nova's proxies: a WebSocket client, a real browser, what they outlive, and whose they are."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from .browser import Browser, Image
from .conftest import NAME, beastack, services, status, until

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]
UUID_FILE = "/sys/class/dmi/id/product_uuid"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Terminal:
    """A viewer of a serial console, as nova-serialproxy serves it."""

    def __init__(self, url: str) -> None:
        self._open = ExitStack()
        opening = connect(url, subprotocols=["binary"], open_timeout=20, close_timeout=2)
        self.socket: ClientConnection = self._open.enter_context(opening)
        self.seen = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def type(self, text: str) -> None:
        self.socket.send(text.encode())

    def read(self, seconds: float) -> bool:
        """Take what comes next; False when nothing comes."""
        try:
            data = self.socket.recv(timeout=seconds)
        except TimeoutError:
            return False
        self.seen += data.decode(errors="replace") if isinstance(data, bytes) else data
        return True

    def until(self, text: str, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r}: {self.seen[-500:]!r}"
            self.read(left)

    def answers(self, number: int, seconds: float = 20) -> None:
        """The shell does what is typed. The sum keeps the echo from looking like the answer."""
        self.type(f"echo sum=$(({number}+1))\n")
        self.until(f"sum={number + 1}", seconds)


def url(api: Any, server: Any, kind: str = "serial") -> str:
    return str(api.compute.create_console(server, kind)["url"])


def refused(address: str) -> bool:
    """Whether a console's address opens nothing: not a single byte."""
    try:
        with Terminal(address) as terminal:
            terminal.read(10)
            assert not terminal.seen, f"{address} shows {terminal.seen!r}"
    except (ConnectionClosed, InvalidHandshake, OSError, EOFError):
        return True
    return False


def lit(image: Image) -> int:
    """How many pixels are light: letters on a dark ground."""
    return sum(count for colour, count in image.colours().items() if min(colour) > 120)


@pytest.fixture(scope="module")
def server(demo: Any) -> Any:
    return next(iter(demo.compute.servers(name="^first$")))


@pytest.fixture
def terminal(demo: Any, server: Any) -> Iterator[Terminal]:
    with Terminal(url(demo, server)) as found:
        yield found


def test_the_command_line_tells_both_addresses(cloud: str) -> None:
    for option, begins in (("--serial", "ws://"), ("--novnc", "http://")):
        command = ("--os-cloud", f"{NAME}-demo", "console", "url", "show", option, "first", "-f", "json")
        found = json.loads(beastack("openstack", "--name", NAME, *command).stdout)["url"]
        assert found.startswith(begins)
        assert "token" in found


def test_status_shows_what_serves_consoles(cloud: str) -> None:
    found = services()
    assert {found[name]["state"] for name in ("consoles-fbsd1", "nova-serialproxy", "nova-novncproxy")} == {"running"}


def test_a_command_typed_into_the_browser_s_end_is_answered(terminal: Terminal) -> None:
    terminal.answers(41)


def test_a_viewer_that_comes_later_sees_what_was_said(terminal: Terminal, demo: Any, server: Any) -> None:
    terminal.answers(100)
    with Terminal(url(demo, server)) as later:
        later.until("sum=101")
    assert "sum=101" in demo.compute.get_server_console_output(server)["output"]


def test_two_watch_and_one_types(terminal: Terminal, demo: Any, server: Any) -> None:
    with Terminal(url(demo, server)) as other:
        terminal.answers(200)
        other.until("sum=201")
        other.type("echo sum=$((300+1))\n")
        other.until("another viewer is typing")
        terminal.answers(400)
        other.until("sum=401")
        assert "sum=301" not in other.seen
        terminal.socket.close()
        other.type("\n")

        def may_type() -> bool:
            # the first viewer's end is still on its way, perhaps
            other.type("echo sum=$((500+1))\n")
            other.read(1)
            return "sum=501" in other.seen

        until("the other to type", may_type, 20)


def test_the_screen_in_a_browser(terminal: Terminal, demo: Any, server: Any, tmp_path: Path) -> None:
    folder = Path(os.environ.get("BEASTACK_PICTURES", tmp_path))
    with Browser(url(demo, server, "novnc")) as page:
        until("noVNC to be connected", lambda: "Connected to" in str(page.value("document.body.innerText")), 60)
        where = page.place("canvas")
        assert where[2:] == (1024, 768)
        page.value("document.querySelector('canvas').focus()")
        page.type("\n")
        until("something to be on the screen", lambda: lit(page.picture().part(*where)) > 200, 30)
        before = page.picture(folder / "before.png").part(*where)
        page.type("touch /run/typed\n")
        until("the picture to change", lambda: page.picture().part(*where).changed(before) > 200, 30)
        terminal.type("until [ -e /run/typed ]; do usleep 100000; done; echo sum=$((600+1))\n")
        terminal.until("sum=601")
        page.picture(folder / "after.png")


def test_no_secret_stands_in_a_process_list(terminal: Terminal, demo: Any, server: Any) -> None:
    address = url(demo, server)
    terminal.answers(650)
    run_dir = Path(str(status()["run_dir"]))
    key = next(run_dir.glob("data/hosts/fbsd1/**/console.key")).read_text()
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert any("nova" in line or "bhyve" in line for line in lines)
    for secret in (address.partition("token=")[2], key):
        assert len(secret) > 30
        assert not [line for line in lines if secret in line]


@pytest.mark.parametrize("name", ["nova-compute-fbsd1", "nova-serialproxy", "nova-novncproxy", "consoles-fbsd1"])
def test_consoles_outlive_what_is_killed(terminal: Terminal, demo: Any, server: Any, name: str) -> None:
    """What is not in a session's way does not end it; what is, lets it come again with the same address."""
    kind = "novnc" if name == "nova-novncproxy" else "serial"
    address = url(demo, server, kind)
    terminal.answers(700)
    pid = services()[name]["pid"]
    os.kill(pid, signal.SIGKILL)
    if name in ("nova-compute-fbsd1", "nova-novncproxy"):
        terminal.answers(800)
    else:
        with pytest.raises((ConnectionClosed, EOFError)):
            while True:
                terminal.read(10)
    terminal.socket.close()
    until(f"{name} to be back", lambda: services()[name]["pid"] not in (None, pid))
    if kind == "novnc":
        with Browser(address) as page:
            until("noVNC to be connected", lambda: "Connected to" in str(page.value("document.body.innerText")), 60)
        return

    def again() -> bool:
        try:
            with Terminal(address) as found:
                found.type("echo sum=$((900+1))\n")
                found.until("sum=901", 10)
        except (ConnectionClosed, InvalidHandshake, OSError, EOFError):
            return False
        return True

    until("the console to be served again", again)


def test_a_token_opens_its_server_only_while_servers_come_and_go(api: Any, demo: Any, server: Any) -> None:
    """Three at a time, four in all, each deleted while it is looked at: every guest says who it is, by its firmware."""
    image, flavor = demo.image.find_image(server.image.id or "guest"), demo.compute.find_flavor("b1.tiny")
    first = url(demo, server)
    said: dict[str, set[str]] = {}
    dead: list[str] = []
    errors: list[str] = []

    def one(name: str) -> None:
        made = demo.compute.create_server(name=name, image_id=image.id, flavor_id=flavor.id, networks="none")
        made = demo.compute.wait_for_server(made, wait=120)
        address = url(demo, made)
        with Terminal(address) as found:
            deadline = time.monotonic() + 90
            while not UUID.search(found.seen):
                assert time.monotonic() < deadline, f"{name} says nothing: {found.seen[-300:]!r}"
                found.type(f"cat {UUID_FILE}\n")
                found.read(2)
            demo.compute.delete_server(made)
            try:
                while time.monotonic() < deadline:
                    found.read(30)
            except (ConnectionClosed, EOFError):
                pass
            said[made.id] = set(UUID.findall(found.seen))
        demo.compute.wait_for_delete(made, wait=60)
        assert refused(address)
        dead.append(address)

    def run(names: list[str]) -> None:
        try:
            for name in names:
                one(name)
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(f"{names}: {error!r}")

    threads = [threading.Thread(target=run, args=(names,)) for names in (["a", "d"], ["b"], ["c"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(said) == 4
    assert {uuid: {uuid} for uuid in said} == said
    assert all(refused(address) for address in dead)
    with Terminal(first) as found:
        found.type(f"cat {UUID_FILE}\n")
        found.until(server.id)
        assert not any(uuid in found.seen for uuid in said)
