"""iSCSI disks of guests, by FreeBSD's initiator.

nova-compute writes what cinder says of a volume into the guest's folder, ``volume-VOLUME.json`` (0600: a CHAP secret
may stand in it), and names guest and volume by their UUIDs. Which host device that becomes is read from iscsictl(8);
only a disk of such a session is ever given to the guest.
"""

import json
import tempfile
import time
from pathlib import Path

from oslo_config import cfg

from beastack.freebsd import iscsi
from beastack.freebsd.host import LocalHost
from beastack.privsep import checks, guest_conf, handed
from beastack.privsep.context import entry

HOST = LocalHost()
_MOST = 16 * 1024
_LOGIN_SECONDS = 60.0
_KEYS = {"target", "portal", "user", "secret", "lun"}


def _login(uuid: object, volume_id: object) -> tuple[iscsi.Login, int] | None:
    """What stands in the file; None when there is none."""
    place = Path(guest_conf.register(cfg.CONF).instances_path or "/nonexistent") / checks.uuid(uuid)
    name = f"volume-{checks.uuid(volume_id)}.json"
    with handed.folder(place) as inside:
        found = handed.read(inside, name, _MOST)
    if found is None:
        return None
    try:
        values = json.loads(found[0])
        if not isinstance(values, dict) or set(values) != _KEYS:
            raise ValueError(f"other keys than {', '.join(sorted(_KEYS))}")
        lun = checks.number(values.pop("lun"), 0, 16383, "lun")
        if not all(isinstance(value, str) for value in values.values()):
            raise ValueError("a value that is no text")
        return iscsi.Login(**values), lun
    except ValueError as error:
        raise checks.Refused(f"{name}: {error}") from None


def is_guest_disk(path: str, uuid: str) -> bool:
    """Whether ``path`` is a disk of a session that a file of this guest names."""
    folder = Path(guest_conf.register(cfg.CONF).instances_path or "/nonexistent") / checks.uuid(uuid)
    if not path.startswith("/dev/da"):
        return False
    for file in folder.glob("volume-*.json"):
        login = _login(uuid, file.name[len("volume-") : -len(".json")])
        session = None if login is None else iscsi.find(HOST, login[0])
        if login and session and path == f"/dev/{session.disks.get(login[1])}":
            return True
    return False


@entry
def attach_volume(uuid: str, volume_id: str) -> str:
    """Log in to the target, and wait for the disk; its device."""
    checks.uuid(uuid)
    found = _login(uuid, volume_id)
    if found is None:
        raise checks.Refused(f"volume {volume_id}: the guest has no file of it")
    login, lun = found
    if iscsi.find(HOST, login) is None:
        with tempfile.TemporaryDirectory(prefix="beastack-iscsi-") as folder:
            file = Path(folder) / "iscsi.conf"
            handed.write(file, login.configuration(f"volume-{volume_id}").encode(), 0o600)
            iscsi.add(HOST, f"volume-{volume_id}", str(file))
    deadline = time.monotonic() + _LOGIN_SECONDS
    while True:
        session = iscsi.find(HOST, login)
        if session is not None and lun in session.disks:
            return f"/dev/{session.disks[lun]}"
        if time.monotonic() > deadline:
            words = "there is no session" if session is None else f"the session is {session.state!r}"
            raise TimeoutError(f"{login.target} unit {lun}: no disk within {_LOGIN_SECONDS:.0f} s: {words}")
        time.sleep(0.2)  # iscsid(8) tells nobody


@entry
def detach_volume(uuid: str, volume_id: str) -> None:
    """Log out; no session, or no file any more, is fine."""
    checks.uuid(uuid)
    found = _login(uuid, volume_id)
    if found is not None:
        iscsi.remove(HOST, found[0].target)
