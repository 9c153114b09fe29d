import subprocess
from pathlib import Path

import pytest

from beastack.cloud.errors import CloudError
from beastack.cloud.first.keys import public_key


def test_the_private_half_is_made_once_and_is_private(tmp_path: Path) -> None:
    private = tmp_path / "id_ed25519"
    line = public_key(private, "beastack-main")
    assert line.startswith("ssh-ed25519 AAAA")
    assert line.endswith(" beastack-main")
    assert private.stat().st_mode & 0o777 == 0o600
    before = private.read_bytes()
    assert public_key(private, "beastack-main") == line
    assert private.read_bytes() == before
    assert (tmp_path / "id_ed25519.pub").read_text() == line + "\n"


def test_openssh_reads_it(tmp_path: Path) -> None:
    private = tmp_path / "id_ed25519"
    line = public_key(private, "x")
    try:
        done = subprocess.run(["ssh-keygen", "-y", "-f", str(private)], capture_output=True, text=True, timeout=10)
    except FileNotFoundError:
        pytest.skip("no ssh-keygen here")
    assert done.stdout.split()[:2] == line.split()[:2]


def test_a_file_that_is_no_key_is_left_alone_and_told(tmp_path: Path) -> None:
    private = tmp_path / "id_ed25519"
    private.write_text("not a key")
    with pytest.raises(CloudError, match="holds no private key"):
        public_key(private, "x")
    assert private.read_text() == "not a key"
