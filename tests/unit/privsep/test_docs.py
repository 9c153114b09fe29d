"""docs/privileges.md says what the code does: its table, its samples, and what 09 shows."""

import re
from pathlib import Path

import pytest
from tests.unit.transcripts import DATA

from beastack.privsep import commandline, conf, confinement, guest_conf

DOCS = Path(__file__).resolve().parents[3] / "docs"
TEXT = (DOCS / "privileges.md").read_text()
SOCKET = "/tmp/tmpab12_x9z/privsep.sock"
CONTEXT = "beastack.privsep.context.default"
# What the page calls an attempt -> the beginning of its command in the transcript.
TRIED = {
    "change owner and mode of files, set-uid bit": ["touch /tmp/priv.x && chown"],
    "read `/etc/master.passwd`": ["cat /etc/master.passwd"],
    "add an address, make an epair or a bridge": ["ifconfig lo0", "ifconfig epair create", "ifconfig bridge create"],
    "set `net.inet.ip.forwarding`": ["sysctl net.inet.ip.forwarding="],
    "`kldload if_gre`": ["kldload if_gre"],
    "mount a tmpfs": ["mount -t tmpfs"],
    "make a jail": ["jail -c"],
    "send an echo request to 127.0.0.1": ["ping -c 1"],
    "signal process 1": ["kill -0 1"],
    "`mdconfig -a`, read `/dev/mem`, `pfctl -s info`": ["mdconfig -a", "cat /dev/mem", "pfctl -s info"],
    "set the clock, reboot": ["date -r 0", "reboot"],
    "listen on port 81": ["nc -l 127.0.0.1 81"],
}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table that begins with this line."""
    lines = TEXT[TEXT.index(heading) :].splitlines()[2:]
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_the_table_is_the_codes() -> None:
    shown = {
        row[0].strip("`"): (row[1], tuple(re.findall(r"`([^`]+)`", row[2]))) for row in rows("| capability | means")
    }
    assert shown == {name: (row.means.name.lower(), row.parameters) for name, row in confinement.TABLE.items()}


def test_the_jail_is_the_codes() -> None:
    where = confinement.place("SECTION", "/x", int(conf_default("confined_devfs_ruleset")), [])
    line = " ".join(confinement.create(where, confinement.decide(["CAP_CHOWN"])))
    line = line.replace("/x/SECTION", "ROOT").replace("host.hostname=bspriv-SECTION ", "")
    assert line in TEXT.replace("\n", " ")
    for device in confinement.DEVICES:
        assert device.path in ("fd/*", "stdin", "stdout", "stderr") or f"`{device.path}`" in TEXT


def conf_default(name: str) -> str:
    return str(next(option.default for option in conf.OPTIONS if option.dest == name))


def test_every_option_that_is_named_exists() -> None:
    known = {option.dest for option in (*conf.OPTIONS, *guest_conf.OPTIONS)}
    named = re.findall(r"^(\w+) = ", TEXT, re.MULTILINE) + re.findall(r"\[beastack\] (\w+)`", TEXT)
    assert len(set(named)) > 6
    assert set(named) - {"helper_command"} <= known


def test_what_root_may_is_as_recorded() -> None:
    parts = re.split(r"^## ", (DATA / "09-privilege.txt").read_text(), flags=re.MULTILINE)
    columns = [
        next(p for p in parts if p.startswith(n)) for n in ("plain jail, path=/", "plain jail with", "vnet jail")
    ]
    table = rows("| tried | plain")
    assert [row[0] for row in table] == list(TRIED)
    for what, *answers in table:
        for answer, part in zip(answers, columns, strict=True):
            for command in TRIED[what]:
                (line,) = [line for line in part.splitlines() if line[5:].startswith(command)]
                assert line[:4].strip() == answer, (what, line)


@pytest.mark.parametrize("service", ["nova", "neutron"])
def test_the_samples_fit_the_helper(service: str) -> None:
    """sudo's regular expression and the helper's own reading take the same command line."""
    sudoers = (DOCS / "privileges" / "sudoers.beastack").read_text()
    file = f"/usr/local/etc/beastack/{service}-privsep.conf"
    words = ["--config-file", file, "--privsep_context", CONTEXT, "--privsep_sock_path", SOCKET]
    patterns = [line.strip() for line in sudoers.splitlines() if line.strip().startswith("^")]
    assert [bool(re.search(p, " ".join(words))) for p in patterns].count(True) == 1
    assert not any(re.search(p, " ".join([*words, "--log-config-append", "/tmp/x"])) for p in patterns)
    assert commandline.parse(words).context == CONTEXT
    program = "/usr/local/bin/beastack-privsep-helper"
    assert f"{service} ALL = (root) NOPASSWD:" in sudoers
    assert f"permit nopass {service} as root cmd {program}\n" in (DOCS / "privileges" / "doas.conf").read_text()
    assert f"{program} --config-file /usr/local/etc/beastack/nova-privsep.conf" in TEXT


def test_every_file_that_is_named_exists() -> None:
    for path in re.findall(r"\]\((privileges/[^)]+)\)", TEXT):
        assert (DOCS / path).is_file(), path
    for path in re.findall(r"`((?:src|tests)/[\w/.]+)`", TEXT):
        assert (DOCS.parent / path).exists(), path


@pytest.mark.parametrize("service", ["nova", "neutron"])
def test_the_entries_are_those_that_up_configures(service: str) -> None:
    source = (DOCS.parent / "src" / "beastack" / "cloud" / "config" / f"{service}.py").read_text()
    found = re.findall(r'(?:"privsep_entries":|PLUGGING =) "([^"]+)"', source)
    plain = [entries for entries in found if f"privsep_entries = {entries}" in TEXT]
    switched = [entries for entries in found if f"`{entries}`" in TEXT]  # with Open vSwitch
    assert len(plain) == len(switched) == 1 and {*plain, *switched} == set(found)
