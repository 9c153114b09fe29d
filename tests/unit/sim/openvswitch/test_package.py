"""Where Open vSwitch's programs are found, and what becomes of a download."""

from pathlib import Path

import pytest

from beastack.sim.openvswitch import package


def fill(root: Path) -> None:
    for name in (*package.PROGRAMS.values(), package.SCHEMA, "usr/lib/x86_64-linux-gnu/libxdp.so.1"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the programs of its own."""
    complete = package._complete
    monkeypatch.setattr(package, "_complete", lambda root: root != Path("/") and complete(root))


@pytest.mark.usefixtures("bare")
def test_a_cache_is_used_when_it_is_complete(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert package.root(cache) is None
    fill(cache)
    assert package.root(cache) == cache == package.unpack(cache)
    (cache / package.SCHEMA).unlink()
    assert package.root(cache) is None


def test_programs_of_the_cache_find_their_libraries(tmp_path: Path) -> None:
    fill(tmp_path)
    words = package.command("ovs-vsctl", tmp_path)
    assert words[1] == f"LD_LIBRARY_PATH={tmp_path}/usr/lib/x86_64-linux-gnu"
    assert words[2] == f"{tmp_path}/usr/bin/ovs-vsctl"
    assert package.command("ovsdb-server", Path("/")) == ["/usr/sbin/ovsdb-server"]


@pytest.mark.usefixtures("bare")
def test_lists_that_are_old_are_brought_up_to_date_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(argv: list[str], where: Path) -> None:
        ran.append(argv[0] if argv[0] == "dpkg-deb" else argv[4])
        if ran == ["download"]:
            raise package.UnpackFailed("404")
        if argv[0] == "dpkg-deb":
            fill(Path(argv[-1]))
        elif argv[4] == "download":
            (where / "one.deb").touch()

    monkeypatch.setattr(package, "_run", run)
    assert package.unpack(tmp_path / "cache") == tmp_path / "cache"
    assert ran == ["download", "update", "download", "dpkg-deb"]


@pytest.mark.usefixtures("bare")
def test_a_failed_download_leaves_nothing(tmp_path: Path) -> None:
    package_run = package._run
    with pytest.raises(package.UnpackFailed, match="status 3"):
        package_run(["sh", "-c", "exit 3"], tmp_path)
    with pytest.raises(package.UnpackFailed, match="no-such-program"):
        package_run(["no-such-program"], tmp_path)
    assert list(tmp_path.iterdir()) == []
