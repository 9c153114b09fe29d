"""The helper serves a call across a real socket, as upstream's client drives it, without Linux capabilities."""

import os
import pwd
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

CLIENT = """
    import os, sys
    if len(sys.argv) > 2:
        os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
    from oslo_config import cfg
    from beastack.privsep import checks, context, interfaces, pf
    cfg.CONF(["--config-file", sys.argv[1]], project="test")
    for call, arguments in (
        (interfaces.ensure_bridge, ("not-ours", "beastack:network:1")),
        (pf.list_ports, ()),
        (interfaces.destroy_interface, ("tap6f1a4f2e-0c",)),
    ):
        try:
            print("done:", call(*arguments))
        except checks.Refused as e:
            print("refused:", e)
    for name in ("antigravity.fly", "beastack.privsep.checks.uuid", "os.system", "nova.privsep.path.writefile"):
        try:
            context.default.channel.remote_call(name, ("x",), {}, 20)
        except checks.Refused as e:
            print("refused:", e)
    print("end")
"""
HELPER = Path(sys.executable).with_name("beastack-privsep-helper")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    tools = tmp_path / "bin"
    tools.mkdir()
    # an interface that is gone, in ifconfig's own words
    (tools / "ifconfig").write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/ran\necho "ifconfig: interface $1 does not exist" >&2\nexit 1\n'
    )
    (tools / "ifconfig").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"

    def client(beastack: str = "", section: str = "", uid: int | None = None) -> subprocess.CompletedProcess[str]:
        conf = tmp_path / "test.conf"
        conf.write_text(
            f"[beastack]\naudit_log = {tmp_path}/audit.log\nprogram_path = {path}\n{beastack}\n"
            f"[beastack_privileged]\nhelper_command = {HELPER} --config-file {conf}\n{section}\n"
        )
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(CLIENT), str(conf), *([] if uid is None else [str(uid)])],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PATH": path},
        )

    return client


def test_calls_cross_the_boundary_and_are_checked_there(run: Run, tmp_path: Path) -> None:
    done = run("privsep_entries = interfaces")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "refused: bridge: 'not-ours' is not of the form brq[0-9a-f]{8}-[0-9a-f]{2}",
        "refused: call: pf.list_ports is not among this service's entries: [beastack] privsep_entries",
        "done: None",
        "refused: call: antigravity.fly is not below beastack",
        "refused: call: beastack.privsep.checks.uuid is no entry point",
        "refused: call: os.system is not below beastack",
        "refused: call: nova.privsep.path.writefile is not below beastack",
        "end",
    ]
    assert (tmp_path / "ran").read_text().splitlines() == ["tap6f1a4f2e-0c"]


def test_each_call_is_recorded_with_its_caller_and_duration(run: Run, tmp_path: Path) -> None:
    run("privsep_entries = interfaces")
    log = tmp_path / "audit.log"
    assert log.stat().st_mode & 0o777 == 0o600
    lines = log.read_text().splitlines()
    assert len(lines) == 7
    for line in lines:
        assert f"uid={os.getuid()} program={Path(sys.executable).resolve()}(" in line
        assert " pid=" in line
        assert " after 0." in line
    assert "beastack.privsep.interfaces.destroy_interface('tap6f1a4f2e-0c'): done after" in lines[2]
    assert "os.system: Refused call: os.system" in lines[5]


def test_a_service_without_entries_may_call_nothing(run: Run, tmp_path: Path) -> None:
    assert run().stdout.count("is not among this service's entries") == 3
    assert not (tmp_path / "ran").exists()


def test_a_context_without_capabilities_does_not_stay_root(run: Run) -> None:
    done = run("privsep_entries = interfaces", "capabilities =")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("end\n")


def test_a_context_of_files_only_serves_from_its_jail(run: Run, tmp_path: Path) -> None:
    """jail(8), jls(8) and jexec(8) are scripts here, as the simulated host's: jexec only becomes its command."""
    for name, script in (
        ("jls", 'echo \'{"jail-information": {"jail": []}}\''),
        ("jail", f'echo "$*" > {tmp_path}/jail'),
        ("jexec", f'echo "$*" > {tmp_path}/jexec; shift; exec "$@"'),
    ):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    done = run(f"privsep_entries = interfaces\nconfined_path = {tmp_path}/roots", "capabilities = CAP_CHOWN")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("end\n")
    assert "refused: bridge: 'not-ours'" in done.stdout
    assert (tmp_path / "jail").read_text().startswith("-c name=bspriv-beastack_privileged path=/ ")
    assert " -I -m beastack.privsep.confined " in (tmp_path / "jexec").read_text()
    assert f"uid={os.getuid()} program={Path(sys.executable).resolve()}(" in (tmp_path / "audit.log").read_text()


def test_a_jail_that_cannot_be_made_ends_the_start(run: Run, tmp_path: Path) -> None:
    for name in ("jls", "jail"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho 'jail: jail_set: Operation not permitted' >&2\nexit 1\n")
        (tmp_path / "bin" / name).chmod(0o755)
    done = run(f"privsep_entries = interfaces\nconfined_path = {tmp_path}/roots", "capabilities = CAP_CHOWN")
    assert "Operation not permitted" in done.stderr
    assert "FailedToDropPrivileges" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_the_inner_half_serves_only_jailed_contexts(tmp_path: Path) -> None:
    conf = tmp_path / "x.conf"
    conf.write_text("[beastack]\n")
    inner = [sys.executable, "-I", "-m", "beastack.privsep.confined", "0", "me", "beastack.privsep.context.default"]
    for words in (["x"], [*inner[5:], "--config-file", str(conf)]):
        done = subprocess.run([*inner[:4], *words], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1


def test_a_capability_without_meaning_ends_the_start(run: Run) -> None:
    done = run("privsep_entries = interfaces", "capabilities = 63")
    assert "capability 63: what it means on FreeBSD is not known" in done.stderr
    assert "FailedToDropPrivileges" in done.stderr


def test_a_file_that_others_may_write_is_not_read(tmp_path: Path) -> None:
    conf = tmp_path / "loose.conf"
    conf.write_text("[beastack]\nprivsep_entries = interfaces\n")
    conf.chmod(0o666)
    assert "others than its owner may write it" in _started(conf, "beastack.privsep.context.default")


@pytest.mark.parametrize(
    ("context", "why"),
    [
        ("nova.privsep.sys_admin_pctxt", "not among [beastack] privsep_contexts"),
        ("os.path", "context os.path is not known here"),
        ("antigravity.x", "context antigravity.x is not known here"),
    ],
)
def test_a_context_that_is_not_allowed_is_not_even_imported(tmp_path: Path, context: str, why: str) -> None:
    conf = tmp_path / "x.conf"
    conf.write_text("[beastack]\n")
    assert why in _started(conf, context)


def _started(conf: Path, context: str, owner: int = 0) -> str:
    """What the helper says on a socket that ``owner`` listens on."""
    code = """
        import os, socket, subprocess, sys, tempfile
        folder = tempfile.mkdtemp()
        path = folder + "/privsep.sock"
        owner = int(sys.argv[1])
        if os.geteuid() == 0:
            os.chown(folder, owner, owner)
            os.seteuid(owner)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        if os.getuid() == 0:
            os.seteuid(0)
        done = subprocess.run([*sys.argv[2:], "--privsep_sock_path", path], capture_output=True, text=True, timeout=60)
        os.unlink(path)
        os.rmdir(folder)
        print(done.stderr)
        sys.exit(done.returncode != 1)
    """
    helper = [str(HELPER), "--config-file", str(conf), "--privsep_context", context]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(owner), *helper],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be a caller of another user")
def test_another_user_must_be_among_the_callers(tmp_path: Path) -> None:
    conf = tmp_path / "x.conf"
    conf.write_text("[beastack]\nprivsep_callers = nobody\n")
    said = _started(conf, "beastack.privsep.context.default", pwd.getpwnam("daemon").pw_uid)
    assert f"uid={pwd.getpwnam('daemon').pw_uid}" in said
    assert "this user is not among [beastack] privsep_callers" in said


def test_more_arguments_are_refused() -> None:
    done = subprocess.run(
        [str(HELPER), "--config-file", "/x", "--log-config-append", "/tmp/evil"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "beastack-privsep-helper: arguments: wanted is --config-file FILE" in done.stderr
