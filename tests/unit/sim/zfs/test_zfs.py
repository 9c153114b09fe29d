"""zfs(8) and zpool(8) over a folder: volumes, snapshots, clones, what holds what, sizes, streams."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.sim.zfs import contents, main, pool, sizes, space, streams
from beastack.sim.zfs.errors import Refused
from beastack.sim.zfs.table import opened

GOOD = ("", 0)


class Shell:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def zfs(self, line: str) -> tuple[str, int]:
        out, err, status = main.run(self.folder, line.split())
        return err + out, status

    def zpool(self, line: str) -> tuple[str, int]:
        out, err, status = pool.run(self.folder, line.split())
        return err + out, status

    def file(self, name: str) -> Path:
        return (self.folder / "dev" / name).resolve()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    real = contents.nodes
    monkeypatch.setattr(contents, "nodes", lambda table: real(table, tmp_path / "dev"))
    disk = tmp_path / "disk"
    disk.touch()
    os.truncate(disk, 600 << 20)
    made = Shell(tmp_path)
    assert made.zpool(f"create -m none p {disk}") == GOOD
    return made


def test_a_clone_has_the_contents_and_keeps_them(shell: Shell) -> None:
    assert shell.zfs("create -V 1m -s p/image") == GOOD
    shell.file("p/image").open("r+b").write(b"first")
    assert shell.zfs("snapshot p/image@ready") == GOOD
    shell.file("p/image").open("r+b").write(b"later")
    assert shell.zfs("clone -o volmode=dev p/image@ready p/disk") == GOOD
    assert shell.file("p/disk").read_bytes()[:5] == b"first"
    shell.file("p/disk").open("r+b").write(b"guest")
    assert shell.file("p/image").read_bytes()[:5] == b"later"
    assert shell.zfs("rollback p/image@ready") == GOOD
    assert shell.file("p/image").read_bytes()[:5] == b"first"
    assert shell.file("p/disk").read_bytes()[:5] == b"guest"


def test_sizes_grow_and_shrink_without_a_word(shell: Shell) -> None:
    shell.zfs("create -V 1m p/v")
    assert shell.zfs("set volsize=2m p/v") == GOOD
    assert shell.file("p/v").stat().st_size == 2 << 20
    assert shell.zfs("set volsize=1m p/v") == GOOD
    assert shell.file("p/v").stat().st_size == 1 << 20
    assert "must be a multiple of volume block size (16K)" in shell.zfs("set volsize=1000 p/v")[0]
    assert shell.zfs("create -V 1000 p/w") == GOOD
    assert shell.zfs("get -Hp -o value volsize p/w") == ("16384\n", 0)


def test_a_node_that_was_cut_short_has_its_size_again(shell: Shell) -> None:
    shell.zfs("create -V 1m p/v")
    shell.file("p/v").write_bytes(b"x")
    shell.zfs("list p")
    assert shell.file("p/v").stat().st_size == 1 << 20


def test_promote_turns_origin_and_clone_round(shell: Shell) -> None:
    for line in ("create -V 1m p/a", "snapshot p/a@1", "clone p/a@1 p/b", "promote p/b"):
        assert shell.zfs(line) == GOOD
    assert shell.zfs("list -Hp -o name,origin -t all -r p") == ("p\t-\np/a\tp/b@1\np/b\t-\np/b@1\t-\n", 0)
    assert shell.zfs("destroy p/a") == GOOD
    assert shell.zfs("destroy -r p/b") == GOOD


def test_destroy_R_takes_the_clones_of_clones(shell: Shell) -> None:
    for line in ("create -V 1m p/a", "snapshot p/a@1", "clone p/a@1 p/b", "snapshot p/b@2", "clone p/b@2 p/c"):
        assert shell.zfs(line) == GOOD
    words, status = shell.zfs("destroy -r p/a")
    assert status == 1
    assert words.endswith("use '-R' to destroy the following datasets:\np/b\np/c\n")
    assert shell.zfs("destroy -R p/a") == GOOD
    assert shell.zfs("list -H -o name") == ("p\n", 0)
    assert list((shell.folder / "zfs" / "contents").iterdir()) == []


def state(pid: int) -> str:
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]


def becomes(pid: int, wanted: str) -> None:
    deadline = time.monotonic() + 10
    while state(pid) not in wanted:
        assert time.monotonic() < deadline, state(pid)
        time.sleep(0.005)


def test_who_writes_stands_still_while_a_volume_is_copied() -> None:
    with subprocess.Popen(["sleep", "60"]) as writer, subprocess.Popen(["sleep", "60"]) as paused:
        try:
            paused.send_signal(signal.SIGSTOP)
            becomes(paused.pid, "T")
            with contents.still({writer.pid, paused.pid}):
                becomes(writer.pid, "T")
            becomes(writer.pid, "SR")
            assert state(paused.pid) == "T"
        finally:
            writer.kill()
            paused.kill()


def test_who_stands_still_goes_on_when_the_copying_process_is_killed() -> None:
    code = "import sys, time; from beastack.sim.zfs import contents\nwith contents.still({int(sys.argv[1])}):\n"
    code += " print('held', flush=True); time.sleep(60)"
    with subprocess.Popen(["sleep", "60"]) as writer:
        try:
            argv = [sys.executable, "-c", code, str(writer.pid)]
            with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
                assert holder.stdout and holder.stdout.readline() == "held\n"
                becomes(writer.pid, "T")
                holder.kill()
            becomes(writer.pid, "SR")
        finally:
            writer.kill()


def test_a_volume_in_use_is_busy(shell: Shell) -> None:
    shell.zfs("create -V 1m p/v")
    with shell.file("p/v").open("rb"):
        assert shell.zfs("destroy p/v") == ("cannot destroy 'p/v': dataset is busy\n", 1)
        assert shell.zpool("destroy p") == ("cannot destroy 'p': pool is busy\n", 1)
    assert shell.zpool("destroy p") == GOOD
    assert not (shell.folder / "dev").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("create nosuch/x", "cannot create 'nosuch/x': no such pool 'nosuch'\n"),
        ("create p/x/y", "cannot create 'p/x/y': parent does not exist\n"),
        ("create p/x!", "cannot create 'p/x!': invalid character '!' in name\n"),
        ("create -V 0 p/x", "cannot create 'p/x': volume size cannot be zero\n"),
        ("create -V 10g p/x", "cannot create 'p/x': out of space\n"),
        ("snapshot p/x@1", "cannot create snapshot 'p/x@1': dataset does not exist\n"),
        ("clone p@1 p/x", "cannot open 'p@1': dataset does not exist\n"),
        ("destroy p@1", "could not find any snapshots to destroy; check snapshot names.\n"),
        ("set nosuch=1 p", "cannot set property for 'p': invalid property 'nosuch'\n"),
        ("rename p/x p/y", "cannot open 'p/x': dataset does not exist\n"),
        ("allow x", "zfs: allow: not simulated\n"),
    ],
)
def test_refused(shell: Shell, line: str, words: str) -> None:
    got, status = shell.zfs(line)
    assert got == words
    assert status != 0
    assert shell.zfs("list -H -o name -t all -r") == ("p\n", 0)


def test_user_properties_reach_snapshots_not_clones(shell: Shell) -> None:
    for line in ("create -V 1m p/a", "set beastack:id=7 p/a", "snapshot p/a@1", "clone p/a@1 p/b"):
        assert shell.zfs(line) == GOOD
    assert shell.zfs("get -H -o value,source beastack:id p/a@1 p/a p/b") == (
        "7\tinherited from p/a\n7\tlocal\n-\t-\n",
        0,
    )
    assert shell.zfs("inherit beastack:id p/a") == GOOD
    assert shell.zfs("get -H -o value beastack:id p/a") == ("-\n", 0)


def test_send_and_receive(shell: Shell) -> None:
    shell.zfs("create -V 4m p/a")
    with shell.file("p/a").open("r+b") as volume:
        volume.seek(3 << 20)
        volume.write(b"deep")
    shell.zfs("snapshot p/a@1")
    stream = io.BytesIO()
    streams.send(shell.folder, "p/a@1", stream)
    assert len(stream.getvalue()) < 1 << 20  # holes are not sent
    streams.receive(shell.folder, "p/b", io.BytesIO(stream.getvalue()))
    shell.zfs("list p")
    assert shell.file("p/b").read_bytes() == shell.file("p/a").read_bytes()
    before = set((shell.folder / "zfs" / "contents").iterdir())
    with pytest.raises(Refused, match="failed to read from stream"):
        streams.receive(shell.folder, "p/c", io.BytesIO(stream.getvalue()[:-5]))
    assert set((shell.folder / "zfs" / "contents").iterdir()) == before
    with pytest.raises(Refused, match="bad magic number"):
        streams.receive(shell.folder, "p/c", io.BytesIO(b"junk"))


def test_commands_at_once_leave_one_table(shell: Shell) -> None:
    program = [sys.executable, "-c", "import sys;from pathlib import Path;from beastack.sim.zfs import contents,main;"
               "contents.nodes=lambda table: None;print(main.run(Path(sys.argv[1]),sys.argv[2:]))"]  # fmt: skip
    many = [subprocess.Popen([*program, str(shell.folder), "create", f"p/n{number}"]) for number in range(8)]
    assert [one.wait(30) for one in many] == [0] * 8
    with opened(shell.folder) as table:
        assert len(table.datasets) == 9


@given(st.integers(min_value=0, max_value=1 << 62))
def test_human_sizes_are_short_and_near(number: int) -> None:
    text = sizes.human(number)
    assert len(text) <= 6
    assert abs(sizes.parse(text) - number) <= max(1, number // 100)


def test_pool_size_as_recorded() -> None:
    assert space.pool_size(600 << 20) == 603979776
    assert space.slop(603979776) == 128 << 20
