"""rctl(8) as usr.bin/rctl/rctl.c and sys/kern/kern_rctl.c have it, on this machine's own processes."""

import os
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastack.sim.engine import racct
from beastack.sim.engine.racct import Racct
from beastack.sim.engine.sysctls import Sysctls
from beastack.sim.net.errors import Failed
from beastack.sim.programs import rctl
from beastack.sim.programs.base import Reply, Request

ME = os.getpid()


class Host:
    def __init__(self, enabled: bool = True) -> None:
        sysctls = Sysctls()
        sysctls.values["kern.racct.enable"] = str(int(enabled))
        self.state: Any = SimpleNamespace(racct=Racct(), sysctls=sysctls, find_jail=lambda _name: None)
        self.jail: Any = None

    def rctl(self, *words: str) -> Reply:
        return rctl.run(Request(self.state, "rctl", list(words), "", ME, None, self.jail))  # type: ignore[arg-type]

    def rules(self, *words: str) -> list[str]:
        done = self.rctl(*words)
        assert (done.err, done.rc) == ("", 0)
        return done.out.splitlines()


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_rules_are_kept_and_shown_by_filters(host: Host) -> None:
    for rule in (
        f"process:{ME}:pcpu:deny=50",
        "jail:a:memoryuse:deny=64m",
        "j:b:maxproc:log=5",
        "u:root:nthr:sighup=9",
    ):
        host.rules("-a", rule)
    everything = [
        f"process:{ME}:pcpu:deny=50",
        "user:root:nthr:sighup=9",
        "jail:b:maxproc:log=5",
        "jail:a:memoryuse:deny=67108864",
    ]
    assert host.rules() == everything
    assert host.rules("jail:") == everything[2:]
    assert host.rules("jail:a") == everything[3:]
    assert host.rules("::maxproc") == everything[2:3]
    assert host.rules(":::deny=50") == everything[:1]
    assert host.rules("-n", "user:root") == ["user:0:nthr:sighup=9"]
    assert host.rules("jail:c") == []


def test_a_rule_of_another_container_says_so(host: Host) -> None:
    host.rules("-a", "jail:a:maxproc:deny=5/user")
    host.rules("-a", "jail:a:maxproc:deny=7/jail")
    assert host.rules() == ["jail:a:maxproc:deny=7", "jail:a:maxproc:deny=5/user"]


def test_deny_replaces_deny_and_others_stand_beside_each_other(host: Host) -> None:
    for amount in (5, 3, 3):
        host.rules("-a", f"jail:a:maxproc:deny={amount}")
        host.rules("-a", f"jail:a:readbps:throttle={amount}")
    assert sorted(host.rules()) == ["jail:a:maxproc:deny=3", "jail:a:readbps:throttle=3", "jail:a:readbps:throttle=5"]


def test_rules_are_removed_by_a_filter(host: Host) -> None:
    host.rules("-a", "jail:a:maxproc:deny=5", "jail:a:nthr:deny=6", "jail:b:nthr:deny=7")
    host.rules("-r", "jail:a:nthr")
    host.rules("-r", "jail:b")
    assert host.rules() == ["jail:a:maxproc:deny=5"]
    done = host.rctl("-r", "jail:b", "jail:a")
    assert (done.rc, done.err) == (1, "rctl: failed to remove rule 'jail:b': No such process\n")
    assert host.rules() == []


def test_the_rules_of_a_process_go_with_it(host: Host, sleeper: subprocess.Popen[bytes]) -> None:
    host.rules("-a", f"process:{sleeper.pid}:writeiops:throttle=100")
    assert host.rules() == [f"process:{sleeper.pid}:writeiops:throttle=100"]
    sleeper.kill()
    sleeper.wait()
    assert host.rules() == []
    assert host.rctl("-a", f"process:{sleeper.pid}:pcpu:deny=5").err.endswith(": No such process\n")


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("jail:a:readbps:deny=5", "Operation not supported"),
        ("jail:a:pcpu:throttle=5", "Operation not supported"),
        ("jail:a:swapuse:deny=5/process", "Operation not supported"),
        ("jail:a:maxproc:deny", "Invalid argument"),
        ("jail:a:nosuch:deny=5", "Invalid argument"),
        ("jail:a:maxproc:burn=5", "Invalid argument"),
        (":a:maxproc:deny=5", "Invalid argument"),
        ("group:0:maxproc:deny=5", "Invalid argument"),
        ("process:999999999:pcpu:deny=5", "No such process"),
        ("jail:a:pcpu:deny=9223372036855", "Numerical result out of range"),
    ],
)
def test_what_the_kernel_refuses(host: Host, rule: str, why: str) -> None:
    done = host.rctl("-a", rule)
    assert (done.rc, done.err) == (1, f"rctl: failed to add rule '{rule}': {why}\n")
    assert host.rules() == []


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("jail", "missing subject"),
        ("user:no-such-user:nthr:deny=5", "unknown user 'no-such-user'"),
        ("user:0x:nthr:deny=5", "trailing characters after numerical id"),
        ("jail:a:nthr:deny=many", "invalid numeric value 'many'"),
    ],
)
def test_what_the_program_refuses(host: Host, rule: str, why: str) -> None:
    assert host.rctl("-a", rule).err == f"rctl: malformed rule '{rule}': {why}\n"


def test_a_kernel_without_accounting_refuses_everything() -> None:
    host = Host(enabled=False)
    for words in ([], ["-a", "jail:a:maxproc:deny=5"], ["-r", "jail:a"], ["-u", "jail:a"]):
        with pytest.raises(Failed, match=r"rctl: RACCT/RCTL present, but disabled; enable using kern.racct.enable=1"):
            host.rctl(*words)


def test_a_jail_may_not(host: Host) -> None:
    host.jail = object()
    assert host.rctl("-a", "jail:a:maxproc:deny=5").err.endswith(": Operation not permitted\n")


def test_usage(host: Host, sleeper: subprocess.Popen[bytes]) -> None:
    lines = host.rules("-u", f"process:{sleeper.pid}")
    found = {name: int(amount) for name, _, amount in (line.partition("=") for line in lines)}
    assert list(found) == [name for name in racct.RESOURCES if name in found]
    assert (found["maxproc"], found["nthr"]) == (1, 1)
    assert found["vmemoryuse"] > found["memoryuse"] >= 0
    assert "swapuse" not in found
    empty = [line for line in host.rules("-u", "jail:none") if not line.endswith("=0")]
    assert empty == []
    assert host.rctl("-u", "jail:").err == "rctl: failed to show resource consumption for 'jail:': Invalid argument\n"


deniable = st.sampled_from(["maxproc", "memoryuse", "pcpu", "nthr", "openfiles"])
rules = st.lists(st.tuples(st.sampled_from("abc"), deniable, st.integers(0, 1 << 40)), max_size=12)


@given(rules, st.sampled_from("abc"))
def test_what_was_added_last_stands_and_a_filter_takes_its_own(added: list[tuple[str, str, int]], gone: str) -> None:
    kept, expected = Racct(), {}
    for jail, resource, amount in added:
        kept.add(f"jail:{jail}:{resource}:deny={amount}")
        expected[jail, resource] = amount
    assert {(r.who, r.resource): r.amount for r in kept.matching("::")} == expected
    if any(jail == gone for jail, _resource in expected):
        kept.remove(f"jail:{gone}")
    left = {key: amount for key, amount in expected.items() if key[0] != gone}
    assert {(r.who, r.resource): r.amount for r in kept.matching("::")} == left
