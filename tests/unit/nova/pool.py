"""A pool of the simulated zfs(8) in this process: the privileged side's commands and devices go there."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest
from oslo_config import cfg

from beastack.freebsd import zfs
from beastack.freebsd.errors import failure
from beastack.freebsd.host import Completed, JailHost
from beastack.privsep import guest_conf, volumes
from beastack.sim.zfs import contents, main, pool

SIZE = 1 << 30


class Pool:
    """`tank`, with the store at `tank/beastack`."""

    root = "tank/beastack"
    inside = False

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._patch = folder / "sim", monkeypatch
        self._nodes = folder / "zvol"

    def __enter__(self) -> Self:
        self._folder.mkdir()
        nodes = contents.nodes
        self._patch.setattr(contents, "nodes", lambda table: nodes(table, self._nodes))
        self._patch.setattr(zfs, "device", lambda name: f"{self._nodes}/{zfs.check_name(name)}")
        self._patch.setattr(volumes, "HOST", self)
        guest_conf.register(cfg.CONF)
        cfg.CONF.set_override("zfs_root", self.root, "beastack")
        disk = self._folder / "disk"
        with open(disk, "wb") as file:
            file.truncate(SIZE)
        out, err, rc = pool.run(self._folder, ["create", "-m", "none", "tank", str(disk)])
        assert rc == 0, out + err
        return self

    def __exit__(self, *_: object) -> None:
        cfg.CONF.clear_override("zfs_root", "beastack")

    def run(
        self, argv: Sequence[str], *, input: str | None = None, timeout: float = 20.0, check: bool = True
    ) -> Completed:
        """See Host.run."""
        assert argv[0] == "zfs", argv
        # one change of the host, as from a program of its own: what it does inside is not ours
        sys.audit("beastack.zfs", argv[1])
        self.inside = True
        try:
            out, err, rc = main.run(self._folder, list(argv[1:]))
        finally:
            self.inside = False
        if rc and check:
            raise failure(argv, rc, out, err)
        return Completed(tuple(argv), rc, out, err)

    def jail(self, name: str) -> JailHost:
        """See Host.jail."""
        return JailHost(self, name)
