"""``beastack test``: the project's checks and tests, in parts that can be run alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(os.environ.get("BEASTACK_ROOT", Path(__file__).resolve().parents[3]))
BIN = Path(sys.executable).parent
TRANSCRIPTS = ("transcripts", "transcripts_guests", "transcripts_privileges", "vxlan", "bhyve_run")
PARTS = ("lint", "unit", "sim", "cloud", "host")

# A browser without a window.
BROWSER = ("chromium-headless-shell",)

# libvirt's schema of domains, and its Python module with the driver test:///default.
LIBVIRT = ("python3-libvirt",)

# Seconds one check or one part's run may take; a hang must not look like work.
LINT_LIMIT = 600.0
PART_LIMITS = {"unit": 600.0, "sim": 1200.0, "cloud": 1800.0, "host": 1200.0}


def lint_commands() -> list[list[str]]:
    """The static checks, as argument lists."""
    return [
        [str(BIN / "ruff"), "check", "src", "tests"],
        [str(BIN / "ruff"), "format", "--check", "src", "tests"],
        [str(BIN / "mypy")],
        [str(BIN / "lint-imports")],
    ]


def pytest_command(parts: list[str], extra: list[str], host: str) -> list[str]:
    """One pytest run over the folders of ``parts`` that exist; only tests/host knows ``--host``.

    With the suite on a simulated host go the transcripts, whose report says how far it answers like the real one.
    """
    folders = [str(Path("tests") / p) for p in parts if (ROOT / "tests" / p).is_dir()]
    if "host" in parts and "sim" not in parts and host.startswith("sim:"):
        replays = [str(Path("tests/sim") / f"test_{name}.py") for name in TRANSCRIPTS]
        folders += [path for path in replays if (ROOT / path).is_file()]
    target = ["--host", host] if "host" in parts else []
    return [sys.executable, "-m", "pytest", "-q", "--durations=15", *folders, *target, *extra]


def needs_root(parts: list[str], host: str) -> list[str]:
    """Those of ``parts`` that this machine's root must run; a host reached by ssh has a root of its own."""
    return [p for p in parts if p in ("sim", "cloud") or (p == "host" and not host.startswith("ssh:"))]


def _install(names: tuple[str, ...], tests: str, needed: bool) -> None:
    """What only some tests look through or ask; where it is not ``needed`` they skip without it, with the reason."""
    from beastack.cloud.platform import packages

    manager = packages.Apt(names)
    try:
        missing = manager.missing()
        if missing:
            typer.echo(f"beastack: installing {', '.join(missing)} for {tests}", err=True)
            manager.install(missing)
    except packages.PackageError as e:
        typer.echo(f"beastack: {e}{'' if needed else f'; {tests} will be skipped in part'}", err=True)
        if needed:
            raise typer.Exit(1) from e


def _run(argv: list[str], limit: float) -> int:
    typer.echo(f"$ {' '.join(Path(a).name if i == 0 else a for i, a in enumerate(argv))}", err=True)
    try:
        return subprocess.run(argv, cwd=ROOT, timeout=limit, check=False).returncode
    except subprocess.TimeoutExpired:
        typer.echo(f"beastack: {Path(argv[0]).name} did not end within {limit:.0f} s", err=True)
        return 124


def test(
    parts: Annotated[
        list[str] | None,
        typer.Argument(help=f"Which parts to run: {', '.join(PARTS)}. All when none is named."),
    ] = None,
    keyword: Annotated[str, typer.Option("-k", help="Only tests whose names match, as pytest's -k.")] = "",
    host: Annotated[
        str,
        typer.Option(
            help="For the part host: sim: (a simulated one), local: (this FreeBSD machine) or "
            "ssh://root@HOST:PORT?identity=FILE. It is left as it was found."
        ),
    ] = "sim:",
) -> None:
    """Run the project's checks and tests.

    unit needs no root and takes seconds; sim needs root, /dev/net/tun and network namespaces; cloud brings a whole
    cloud up and drives it through its public APIs; host is the conformance suite, against one FreeBSD host or a
    simulated one; lint is ruff, mypy --strict and the import rules.
    """
    wanted = list(parts or PARTS)
    unknown = [p for p in wanted if p not in PARTS]
    if unknown:
        raise typer.BadParameter(f"unknown part {unknown[0]!r}; there are: {', '.join(PARTS)}")
    if not host.startswith(("sim:", "local:", "ssh:")):
        raise typer.BadParameter(f"--host {host}: sim:, local: or ssh://root@HOST:PORT?identity=FILE is wanted")
    rooted = needs_root(wanted, host)
    if rooted and os.geteuid() != 0:
        typer.echo(
            f"beastack: {', '.join(rooted)} need root (namespaces, TAPs). "
            "Run them as root, or run: ./beastack test unit lint",
            err=True,
        )
        raise typer.Exit(2)
    if "cloud" in wanted and shutil.which("apt-get"):
        _install(BROWSER, "tests/cloud/test_consoles.py", needed=True)
    if "unit" in wanted and os.geteuid() == 0 and shutil.which("apt-get"):
        _install(LIBVIRT, "tests/unit/nova/libvirt", needed=False)
    worst = 0
    if "lint" in wanted:
        for argv in lint_commands():
            worst = worst or _run(argv, LINT_LIMIT)
    tested = [p for p in wanted if p != "lint"]
    if tested:
        extra = ["-k", keyword] if keyword else []
        # one run, so that the closing line counts everything
        worst = _run(pytest_command(tested, extra, host), sum(PART_LIMITS[p] for p in tested)) or worst
    raise typer.Exit(worst)
