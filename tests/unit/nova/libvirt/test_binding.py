"""libvirt-python is loaded when it is asked for, and says what to install when it cannot be."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beastack.nova.libvirt import binding


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither loaded nor to be found by Python itself."""
    for name in ("libvirt", "libvirtmod"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [])
    yield
    for name in ("libvirt", "libvirtmod"):
        sys.modules.pop(name, None)


def test_the_driver_does_not_load_it() -> None:
    code = "import sys, beastack.nova.driver; sys.exit('libvirt' in sys.modules or 'libvirtmod' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], timeout=120, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_it_is_not_there(nowhere: None, tmp_path: Path) -> None:
    with pytest.raises(binding.NoLibvirt) as told:
        binding.load((tmp_path,))
    assert "pkg install libvirt py311-libvirt" in str(told.value)
    assert "apt-get install python3-libvirt" in str(told.value)
    assert f"{tmp_path}: no libvirtmod for Python 3." in str(told.value)


def test_half_of_it_leaves_nothing_behind(nowhere: None, tmp_path: Path) -> None:
    (tmp_path / "libvirtmod.py").write_text("")
    (tmp_path / "libvirt.py").write_text("import no_such_module_at_all")
    with pytest.raises(binding.NoLibvirt, match="no_such_module_at_all"):
        binding.load((tmp_path,))
    assert not {"libvirt", "libvirtmod"} & set(sys.modules)


def test_only_these_two_modules_of_a_folder(nowhere: None, tmp_path: Path) -> None:
    (tmp_path / "libvirtmod.py").write_text("")
    (tmp_path / "libvirt.py").write_text("import libvirtmod\nmark = 1\n")
    assert binding.load((tmp_path,)).mark == 1
    assert str(tmp_path) not in sys.path
