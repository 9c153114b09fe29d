"""vnet jails: made, listed, given interfaces, and removed with everything inside (transcript 03)."""

import pytest

from beastack.freebsd import ifnet, jail
from beastack.freebsd.errors import CommandFailed, NoSuchInterface, NoSuchJail
from beastack.freebsd.host import Host
from beastack.freebsd.ifnet_read import get_interface, list_interfaces

from .lab import Lab, until


def test_a_jail_has_its_own_interfaces_and_name(host: Host, lab: Lab) -> None:
    inside = lab.jail("a")
    found = jail.list_jails(host)["bsc-a"]
    assert found.vnet
    assert found.hostname == "bsc-a"
    assert inside.run(["hostname"]).out.strip() == "bsc-a"
    assert list(list_interfaces(inside)) == ["lo0"]
    assert get_interface(inside, "lo0").inet == ["127.0.0.1/8"]
    jail.ensure_vnet(host, "bsc-a")
    assert jail.list_jails(host)["bsc-a"].jid == found.jid


def test_an_interface_moves_in_and_comes_back(host: Host, lab: Lab) -> None:
    inside = lab.jail("a")
    _one, other = lab.epair()
    ifnet.add_address(host, other, "10.5.9.1/24")
    ifnet.move_to_jail(host, other, "bsc-a")
    assert ifnet.find(host, other) is None
    moved = get_interface(inside, other)
    assert not moved.is_up
    assert moved.inet == []
    ifnet.rename(inside, other, "bscns1")
    jail.remove(host, "bsc-a")
    assert "bsc-a" not in jail.list_jails(host)
    until(lambda: ifnet.find(host, "bscns1") is not None, "the interface to come back")
    jail.remove(host, "bsc-a")


def test_an_interface_is_taken_back_alone(host: Host, lab: Lab) -> None:
    lab.jail("a")
    _one, other = lab.epair()
    ifnet.move_to_jail(host, other, "bsc-a")
    ifnet.return_from_jail(host, other, "bsc-a")
    assert ifnet.find(host, other) is not None
    with pytest.raises(CommandFailed):
        ifnet.return_from_jail(host, other, "bsc-a")


def test_processes_end_with_their_jail(host: Host, lab: Lab) -> None:
    inside = lab.jail("a")
    pid_file = f"{lab.folder}/sleeper.pid"
    inside.run(["daemon", "-f", "-p", pid_file, "sleep", "600"])
    until(lambda: host.run(["cat", pid_file], check=False).out.strip() != "", "the pid file")
    pid = host.run(["cat", pid_file]).out.strip()
    assert host.run(["kill", "-0", pid], check=False).rc == 0
    jail.remove(host, "bsc-a")
    until(lambda: host.run(["kill", "-0", pid], check=False).rc != 0, "the process to end")


def test_what_is_not_there(host: Host, lab: Lab) -> None:
    with pytest.raises(NoSuchJail):
        host.jail("bsc-none").run(["ifconfig"])
    with pytest.raises(NoSuchJail):
        host.run(["jail", "-r", "bsc-none"])
    jail.remove(host, "bsc-none")
    lab.jail("a")
    with pytest.raises(NoSuchInterface):
        ifnet.move_to_jail(host, "bscnone0", "bsc-a")


def test_status_output_and_input_of_a_command_inside(host: Host, lab: Lab) -> None:
    inside = lab.jail("a")
    done = inside.run(["sh", "-c", "cat; echo to-error >&2; exit 7"], input="given", check=False)
    assert (done.out, done.err, done.rc) == ("given", "to-error\n", 7)
