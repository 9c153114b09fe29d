"""nova.monkey_patch wants to run before anything of nova, as in nova's own programs (plugpoints.md,
section 2).
"""

import os
import shutil

os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", "true")

from collections.abc import Iterator
from pathlib import Path

import pytest

from .lab import CONF, Lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    made = Lab(tmp_path, monkeypatch)
    made.driver.init_host("fbsd1")
    yield made
    made.host.end()
    shutil.rmtree(made.screens)
    CONF.reset()
    CONF.clear()
