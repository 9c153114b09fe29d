"""Programs that stand for bhyve, bhyvectl, ifconfig and sysctl: enough to run the real guest supervisor."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beastack.freebsd import bhyve, bhyve_json
from beastack.privsep import guest_files

UUID = "6f1a4f2e-0c34-4c55-9d1b-0f7a8d7f2f11"

# Opens the TCP console, says what it is, echoes, and exits by what is typed: "reboot", "poweroff",
# "crash", "broken".
_BHYVE = """#!{python} -IS
import os, signal, socket, sys
d = {folder!r}
with open(d + "/starts", "a") as f:
    f.write("x")
if os.path.exists(d + "/refuse"):
    print("open of tap device /dev/tap9 failed", file=sys.stderr)
    print("Device emulation initialization error: Device busy", file=sys.stderr)
    sys.exit(4)
signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
signal.signal(signal.SIGUSR2, lambda *_: os._exit(1))
signal.signal(signal.SIGTERM, lambda *_: None if os.path.exists(d + "/deaf") else os._exit(1))
with open(d + "/vmm", "w") as f:
    f.write(str(os.getpid()))
port = int([a for a in sys.argv if a.startswith("com1,tcp=")][0].rpartition(":")[2])
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", port))
s.listen(1)
codes = {{b"reboot": 0, b"poweroff": 1, b"halt": 2, b"crash": 3, b"broken": 4}}
def serve(c):
    c.sendall(b"guest up " + open(d + "/starts").read().count("x").__str__().encode() + b"\\r\\n")
    line = b""
    while data := c.recv(4096):
        c.sendall(data)
        line += data
        while b"\\n" in line:
            word, _, line = line.partition(b"\\n")
            if word.strip() in codes:
                print("bhyve says", word.decode(), file=sys.stderr)
                c.sendall(b"going down\\r\\n")
                os._exit(codes[word.strip()])
            if word.startswith(b"flood "):
                for _ in range(int(word.split()[1])):
                    c.sendall(b"." * 1023 + b"\\n")
while True:
    c, _ = s.accept()
    try:
        serve(c)
    except ConnectionError:  # who was attached was killed: bhyve lives on
        pass
"""

_BHYVECTL = """#!{python} -IS
import os, signal, sys
d = {folder!r}
with open(d + "/bhyvectl.log", "a") as f:
    f.write(" ".join(sys.argv[1:]) + "\\n")
try:
    pid = int(open(d + "/vmm").read())
except FileNotFoundError:
    print("vm_open: nosuch could not be opened: No such file or directory")
    sys.exit(1)
action = sys.argv[2]
if action == "--get-stats":
    print("vcpu0 stats:\\nResident memory                         \\t40968192")
elif action == "--destroy":
    os.unlink(d + "/vmm")
else:
    try:
        os.kill(pid, signal.SIGUSR1 if action == "--force-reset" else signal.SIGUSR2)
    except ProcessLookupError:
        pass
"""


_RCTL = """#!/bin/sh
if [ -e {folder}/no-racct ]; then
    echo "rctl: RACCT/RCTL present, but disabled; enable using kern.racct.enable=1 tunable"
    exit 1
fi
echo $@ >> {folder}/rctl.log
"""


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FakeHost:
    """A folder of programs for PATH, and the guest's folder."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.bin = base / "bin"
        self.bin.mkdir()
        self.guest = base / "instances" / UUID
        self.guest.mkdir(parents=True)
        self.machine = bhyve.Machine(
            name=UUID,
            uuid=UUID,
            topology=bhyve.Topology(1, 1, 1),
            memory_mib=64,
            bootrom=bhyve.Bootrom("/fw.fd", str(self.guest / "vars.fd")),
            console=bhyve.TcpConsole(free_port()),
            disks=(bhyve.Disk(str(self.guest / "root.raw")),),
            nics=(bhyve.Nic("tap12345678-9a", "fa:16:3e:00:00:01", 1450),),
        )
        for name in ("vars.fd", "root.raw"):
            (self.guest / name).write_bytes(b"x")
        self.write_machine()
        for name, text in (
            ("bhyve", _BHYVE),
            ("bhyvectl", _BHYVECTL),
            ("ifconfig", "#!/bin/sh\necho $@ >> {folder}/ifconfig.log\n"),
            ("rctl", _RCTL),
            ("kldload", "#!/bin/sh\n"),
            ("sysctl", "#!/bin/sh\necho 15.1-RELEASE\n"),
        ):
            program = self.bin / name
            program.write_text(text.format(python=sys.executable, folder=str(base)))
            program.chmod(0o755)
        self.env = {**os.environ, "PATH": f"{self.bin}:/usr/bin:/bin"}

    def write_machine(self) -> None:
        (self.guest / "machine.json").write_text(bhyve_json.dump(self.machine))

    def start(self) -> subprocess.CompletedProcess[str]:
        """Start the supervisor as privsep does."""
        return subprocess.run(
            [
                sys.executable,
                "-I",
                "-m",
                "beastack.nova.guest.main",
                "run",
                "--dir",
                str(self.guest),
                "--detach",
            ],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def state(self) -> guest_files.GuestState:
        state = guest_files.current_state(self.guest)
        assert state is not None
        return state

    def wait(self, *states: str, seconds: float = 15) -> guest_files.GuestState:
        """Wait for a state (and for the end of the supervisor, when it is an end)."""
        deadline = time.monotonic() + seconds
        while True:
            state = guest_files.current_state(self.guest)
            if state is not None and state.state in states:
                if state.state in guest_files.END_STATES:
                    assert guest_files.wait_unsupervised(self.guest, 5)
                return state
            assert time.monotonic() < deadline, f"{state}\n{self.log()}"
            time.sleep(0.02)

    def log(self) -> str:
        path = self.guest / "supervisor.log"
        return path.read_text() if path.exists() else ""

    @contextmanager
    def viewer(self) -> Iterator["Viewer"]:
        with guest_files.connected(self.guest, guest_files.CONSOLE, 10) as connection:
            yield Viewer(connection)

    def starts(self) -> int:
        path = self.base / "starts"
        return len(path.read_text()) if path.exists() else 0

    def end(self) -> None:
        """Whatever a test left behind."""
        state = guest_files.read_state(self.guest)
        if state is None:
            return
        for pid, mark in ((state.supervisor_pid, state.supervisor_mark), (state.bhyve_pid, state.bhyve_mark)):
            if guest_files.is_same(pid, mark):
                os.kill(pid, signal.SIGKILL)


class Viewer:
    """A client of console.sock."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.seen = b""

    def until(self, text: bytes) -> None:
        while text not in self.seen:
            data = self.socket.recv(65536)
            assert data, f"ended without {text!r}: {self.seen!r}"
            self.seen += data

    def type(self, text: str) -> None:
        self.socket.sendall(text.encode())


def as_dict(machine: bhyve.Machine) -> dict[str, object]:
    return dict(json.loads(bhyve_json.dump(machine)))
