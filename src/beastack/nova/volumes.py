"""Volumes of cinder's: what it says of a volume, as a file in the guest's folder, and the session made of it.

iSCSI only, by FreeBSD's initiator (beastack.privsep.iscsi).
"""

import json
from pathlib import Path
from typing import Any

from nova.conf import CONF
from oslo_log import log as logging

from beastack.privsep import checks, iscsi
from beastack.privsep.guest_files import write_whole
from nova import exception

LOG = logging.getLogger(__name__)


def connector() -> dict[str, Any]:
    """What cinder needs to export a volume to this host. The initiator's name is the one iscsictl(8) uses by itself."""
    return {
        "initiator": f"iqn.1994-09.org.freebsd:{CONF.host}",
        "ip": str(CONF.my_ip),
        "host": str(CONF.host),
        "multipath": False,
        "platform": "x86_64",
        "os_type": "freebsd",
        "do_local_attach": False,
    }


def _id(connection_info: dict[str, Any]) -> str:
    for place in (connection_info, connection_info.get("data", {})):
        for name in ("serial", "volume_id"):
            if place.get(name):
                return checks.uuid(str(place[name]))
    raise exception.InvalidVolume(reason="the connection does not say which volume it is")


def _file(folder: Path, connection_info: dict[str, Any]) -> Path:
    return folder / f"volume-{_id(connection_info)}.json"


def connect(folder: Path, connection_info: dict[str, Any]) -> str:
    """The volume's device on this host. Raises VolumeDriverNotFound for other kinds than iSCSI."""
    kind = connection_info.get("driver_volume_type")
    if kind != "iscsi":
        raise exception.VolumeDriverNotFound(driver_type=str(kind))
    data = connection_info["data"]
    if data.get("encrypted"):
        raise exception.InvalidVolume(reason="the bhyve driver cannot decrypt volumes")
    if data.get("access_mode") == "ro":
        raise exception.InvalidVolume(reason="the bhyve driver does not attach volumes read-only")
    values = {
        "target": str(data["target_iqn"]),
        "portal": str(data["target_portal"]),
        "lun": int(data.get("target_lun") or 0),
        "user": str(data.get("auth_username") or ""),
        "secret": str(data.get("auth_password") or ""),
    }
    write_whole(_file(folder, connection_info), json.dumps(values).encode(), 0o600)
    return str(iscsi.attach_volume(folder.name, _id(connection_info)))


def disconnect(folder: Path, connection_info: dict[str, Any]) -> None:
    """End the session and forget the volume; one that is not there is fine."""
    iscsi.detach_volume(folder.name, _id(connection_info))
    _file(folder, connection_info).unlink(missing_ok=True)


def disconnect_all(folder: Path) -> None:
    """End the sessions of everything that the folder names."""
    for file in folder.glob("volume-*.json"):
        iscsi.detach_volume(folder.name, file.name[len("volume-") : -len(".json")])
        file.unlink(missing_ok=True)
