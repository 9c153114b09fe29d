"""The guest image's own formats, without a download."""

import os
import subprocess
import zlib
from pathlib import Path

import pytest

from beastack.cloud.guestimage import build, gpt, modules, packages
from beastack.cloud.guestimage.cpio import Archive
from beastack.cloud.guestimage.errors import BuildFailed
from beastack.cloud.guestimage.initramfs import SCRIPTS


def test_gpt(tmp_path: Path) -> None:
    part, disk = tmp_path / "part", tmp_path / "disk"
    part.write_bytes(os.urandom(3 << 20))
    size = gpt.write(disk, part, "x")
    raw = disk.read_bytes()
    assert len(raw) == size and size % (1 << 20) == 0
    assert raw[510:512] == b"\x55\xaa" and raw[512:520] == b"EFI PART"
    header = bytearray(raw[512:604])
    crc = int.from_bytes(header[16:20], "little")
    header[16:20] = bytes(4)
    assert zlib.crc32(header) == crc
    assert raw[gpt.FIRST * 512 :][: 3 << 20] == part.read_bytes()
    assert raw[-512:][:8] == b"EFI PART"
    again = tmp_path / "again"
    gpt.write(again, part, "x")
    assert again.read_bytes() == raw


def test_cpio(tmp_path: Path) -> None:
    archive = Archive()
    archive.file("etc/deep/file", b"text", 0o600)
    archive.link("bin", "usr/bin")
    raw = archive.finish()
    names = [b"etc\0", b"etc/deep\0", b"etc/deep/file\0", b"bin\0", b"TRAILER!!!\0"]
    places = [raw.index(name) for name in names]
    assert places == sorted(places)
    assert len(raw) % 512 == 0


def test_modules_in_order(tmp_path: Path) -> None:
    for name, needs in (("a-b", "c"), ("c", ""), ("d", "a_b,c")):
        (tmp_path / f"{name}.ko").write_bytes(b"\0depends=" + needs.encode() + b"\0")
    (tmp_path / "modules.builtin").write_text("kernel/e.ko\n")
    assert [path.stem for path in modules.ordered(tmp_path, ("d", "e", "a_b"))] == ["c", "a-b", "d"]
    with pytest.raises(BuildFailed, match="no module x"):
        modules.ordered(tmp_path, ("x",))


def test_a_second_build_only_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def make(tree: Path, scratch: Path, image: Path, version: str) -> None:
        made.append(image)
        image.write_bytes(b"QFI\xfb" + bytes(20) + (24 << 20).to_bytes(8, "big"))

    monkeypatch.setattr(packages, "resolve", lambda _log: [packages.Deb("a", "a_1_all.deb", 1, "MD5:0")])
    monkeypatch.setattr(packages, "download", lambda *_given: None)
    monkeypatch.setattr(packages, "unpack", lambda *_given: None)
    monkeypatch.setattr("beastack.cloud.guestimage.builder._make", make)
    said: list[str] = []
    for name in ("one", "two"):
        image = build(tmp_path / "work", tmp_path / name, said.append)
        assert image.disk_bytes == 24 << 20 and image.path.exists()
    assert len(made) == 1 and len(said) == 1


def test_the_guests_scripts_are_shell() -> None:
    for path in SCRIPTS.iterdir():
        if path.read_text().startswith("#!"):
            subprocess.run(["sh", "-n", str(path)], check=True, timeout=10)
