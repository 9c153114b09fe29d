"""From a fork to a running service: what happens in the child.

Everything here runs in a process that has just been forked and becomes the service; an error ends that process with
its words in the service's log.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from beastack.cloud.supervisor.spec import ServiceSpec

_PR_SET_PDEATHSIG = 1
_NAMESPACES = (("mnt", 0x00020000), ("uts", 0x04000000), ("net", 0x40000000), ("pid", 0x20000000))
EX_CONFIG = 78


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Linux: end this process when its parent ends (prctl(2)). Elsewhere the supervisor's records do that."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def redirect(log: str) -> None:
    """Standard input from nowhere, standard output and error to the service's log."""
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    for descriptor in (null, out):
        if descriptor > 2:
            os.close(descriptor)


def enter_host(engine_file: str) -> None:
    """Enter a simulated host's namespaces; the pid namespace counts for the next fork only (setns(2))."""
    pid = int(json.loads(Path(engine_file).read_text())["pid"])
    handles = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), flag) for name, flag in _NAMESPACES]
    for descriptor, flag in handles:
        if _libc().setns(descriptor, flag):
            raise OSError(ctypes.get_errno(), f"cannot enter the simulated host of pid {pid}: setns")
        os.close(descriptor)


def relay(child: int) -> int:
    """Stand between the supervisor and a process in another pid namespace: pass signals on, end as it ends."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _frame: os.kill(child, n))
    while True:
        try:
            _, status = os.waitpid(child, 0)
        except InterruptedError:
            continue
        return os.waitstatus_to_exitcode(status)


def _named(target: str) -> Any:
    """What ``module:name`` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _become(spec: ServiceSpec) -> None:
    os.environ.update(spec.env)
    os.chdir(spec.cwd)
    if spec.kind == "program":
        os.execvpe(spec.argv[0], spec.argv, os.environ)  # noqa: S606 - an argument list of ours, no shell
    warnings.simplefilter("ignore")
    sys.argv = list(spec.argv)
    found = _named(spec.target)
    if spec.prepare:
        _named(spec.prepare)()
    if spec.kind == "main":
        sys.exit(found())
    if spec.listen is None:
        raise ValueError(f"{spec.name}: a WSGI application needs an address to listen on")
    import waitress

    address, port = spec.listen
    waitress.serve(found, host=address, port=port, threads=spec.threads, ident=None, channel_timeout=120)


def run(spec: ServiceSpec) -> None:
    """Become the service; never returns."""
    code = EX_CONFIG
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        redirect(spec.log)
        # a database wants to be asked, not killed
        die_with_parent(signal.SIGTERM if spec.kind == "program" else signal.SIGKILL)
        if spec.host is not None:
            enter_host(spec.host)
            inner = os.fork()
            if inner:
                os._exit(max(0, relay(inner)))
            die_with_parent()
        # what was imported before the fork stays frozen (families): collecting it would write to every shared page
        _become(spec)
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else (0 if e.code is None else 1)
        if isinstance(e.code, str):
            print(e.code, file=sys.stderr)
    except BaseException as e:  # noqa: BLE001 - a forked child must not return into its parent
        # the log is the only place left to say it
        sys.excepthook(type(e), e, e.__traceback__)
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
