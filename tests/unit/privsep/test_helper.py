"""The helper serves a call across a real socket, as upstream's client drives it, without Linux capabilities."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

CLIENT = """
    import sys
    from oslo_config import cfg
    from beastack.privsep import checks, context, interfaces
    cfg.CONF(["--config-file", sys.argv[1]], project="test")
    context.default.start
    try:
        interfaces.ensure_bridge("not-ours", "beastack:network:1")
    except checks.Refused as e:
        print("refused:", e)
    interfaces.set_up("tap6f1a4f2e-0c")
    print("done")
"""


def test_a_call_crosses_the_boundary_and_is_refused_there(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "ifconfig").write_text(f'#!/bin/sh\necho "$$ $PPID $*" >> {tmp_path}/ran\n')
    (tools / "ifconfig").chmod(0o755)
    helper = Path(sys.executable).with_name("beastack-privsep-helper")
    conf = tmp_path / "test.conf"
    conf.write_text(f"[beastack_privileged]\nhelper_command = {helper} --config-file {conf}\n")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CLIENT), str(conf)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    assert "refused: bridge: 'not-ours'" in done.stdout
    assert done.stdout.endswith("done\n")
    assert (tmp_path / "ran").read_text().split()[2:] == ["tap6f1a4f2e-0c", "up"]
