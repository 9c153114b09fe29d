"""Every entry point, listed: arguments of plain types, and refused before anything is run when they are not ours."""

import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Sequence

import pytest
from oslo_config import cfg

import beastack.privsep
from beastack.freebsd.host import Completed, LocalHost
from beastack.privsep import context

# Modules that are no entry points' homes.
for found in pkgutil.iter_modules(beastack.privsep.__path__):
    if found.name != "helper":
        importlib.import_module(f"beastack.privsep.{found.name}")

ENTRIES = sorted(context.entries.items())
PLAIN = {str, int, bool, type(None)}
HOSTILE = ["../../etc/passwd", "-j", "x; reboot", "", "a\nb", None, -1, {"a": "b"}, ["-F", "all"]]


def plain(annotation: object) -> bool:
    """Whether a type is made of what msgpack carries and a check can look at."""
    origin = typing.get_origin(annotation)
    if origin in (list, dict, types.UnionType, typing.Union):
        return all(plain(a) for a in typing.get_args(annotation))
    return annotation in PLAIN or annotation is object


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    ran: list[Sequence[str]] = []

    def run(self: LocalHost, argv: Sequence[str], **kw: object) -> Completed:
        ran.append(argv)
        return Completed(tuple(argv), 0, "", "")

    monkeypatch.setattr(LocalHost, "run", run)
    cfg.CONF([], project="test")
    return ran


def test_there_are_entries() -> None:
    assert len(ENTRIES) >= 10


@pytest.mark.parametrize(("name", "function"), ENTRIES)
def test_arguments_are_plain_and_no_command_line(name: str, function: Callable[..., object]) -> None:
    hints = typing.get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD, f"{name}({parameter.name})"
        assert plain(hints[parameter.name]), f"{name}({parameter.name}: {hints[parameter.name]})"
        assert parameter.name not in {"argv", "args", "command", "cmd", "path", "program", "options"}
    assert function.__doc__, f"{name} says nothing of itself"


@pytest.mark.parametrize(("name", "function"), ENTRIES)
@pytest.mark.parametrize("hostile", HOSTILE, ids=repr)
def test_hostile_arguments_run_nothing(
    name: str, function: Callable[..., object], hostile: object, nothing_runs: list[Sequence[str]]
) -> None:
    parameters = inspect.signature(function).parameters
    if not parameters:
        pytest.skip("takes no argument")
    with pytest.raises(Exception) as caught:
        function(*[hostile] * len(parameters))
    assert type(caught.value).__name__ in {"Refused", "BadRule", "BadGuard"}, repr(caught.value)
    assert nothing_runs == []
