"""Debian's libvirt: its schema, and its Python module with the driver `test:///default`, which needs no daemon."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from lxml import etree

from beastack.nova.libvirt import binding
from beastack.nova.libvirt.connection import Connection

from ..lab import CONF
from ..test_moving import HERE
from .lab import LibvirtLab

SCHEMAS = (Path("/usr/share/libvirt/schemas/domain.rng"), Path("/usr/local/share/libvirt/schemas/domain.rng"))
INSTALL = f"{binding.PACKAGES}; ./beastack test unit does it when it is root's"


@pytest.fixture(scope="session")
def schema() -> etree.RelaxNG:
    for path in SCHEMAS:
        if path.is_file():
            return etree.RelaxNG(etree.parse(path))
    pytest.skip(f"libvirt's schema domain.rng is not on this machine: {INSTALL}")


@pytest.fixture(scope="session")
def module() -> ModuleType:
    try:
        return binding.load()
    except binding.NoLibvirt as error:
        pytest.skip(f"{error}; {INSTALL}")


@pytest.fixture
def connection(module: ModuleType) -> Iterator[Connection]:
    made = Connection("test:///default", module)
    before = made.names()
    yield made
    for name in set(made.names()) - set(before):
        made.destroy(name)
        made.undefine(name)
    made.close()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> Iterator[LibvirtLab]:
    made = LibvirtLab(tmp_path, monkeypatch, module)
    CONF.set_override("my_ip", HERE)
    made.driver.init_host("fbsd1")
    yield made
    made.close()
    made.host.end()
    shutil.rmtree(made.screens)
    CONF.reset()
    CONF.clear()
