"""From whatever went wrong during ``up`` to one message: the cause, the log and the remedy."""

import errno
import os
import time
import traceback
from pathlib import Path

from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException

from beastack.cloud.errors import CloudError
from beastack.cloud.guestimage import BuildFailed
from beastack.cloud.layout import Layout

MIB = 1024**2
# Below, RabbitMQ stops serving (disk_free_limit) and MariaDB waits for ever.
LEAST_FREE = 64 * MIB
AGAIN = "then run the same command again: it goes on from here"


def full_disk(folder: Path) -> CloudError | None:
    """What to say when the file system of ``folder`` is full; None while it is not."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    no_files = found.f_files > 0 and found.f_favail == 0
    if free >= LEAST_FREE and not no_files:
        return None
    words = "no more files can be made" if no_files else f"{free // MIB} MiB free"
    return CloudError(
        f"the disk of {folder} is full: {words}",
        log=folder / "log",
        remedy=f"free at least 2 GiB, or use --run-dir on another disk, {AGAIN}",
    )


def check_disk(folder: Path) -> None:
    """CloudError when the disk is full."""
    error = full_disk(folder)
    if error is not None:
        raise error


def _log_of(layout: Layout, task: str) -> Path:
    """The log that tells most of a task: its service's, else the supervisor's."""
    for name in (task, task.replace(" ", "-"), "supervisor"):
        if layout.log(name).exists():
            return layout.log(name)
    return layout.run_dir / "log"


def explain(error: BaseException, layout: Layout, task: str) -> BaseException:
    """What to raise instead of ``error`` of ``task``: a CloudError for every Exception."""
    if not isinstance(error, Exception):
        return error
    full = full_disk(layout.run_dir)
    if full is not None:
        return full
    if isinstance(error, CloudError):
        return error
    log = _log_of(layout, task)
    match error:
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            where = error.filename or layout.run_dir
            return CloudError(f"{task}: no space left for {where}", log=log, remedy=f"free disk space, {AGAIN}")
        case BuildFailed():
            remedy = f"check the network and the package mirror (apt-get update), {AGAIN}"
            return CloudError(f"the guest image cannot be built: {error}", log=layout.log("guest-image"), remedy=remedy)
        case SDKException() | ClientException():
            return CloudError(
                f"{task}: the cloud's API says: {error}", log=log, remedy=f"mend what the log names, {AGAIN}"
            )
        case OSError(strerror=str(words)):
            name = f" ({error.filename})" if error.filename else ""
            return CloudError(f"{task}: {words}{name}", log=log, remedy=f"mend it, {AGAIN}")
    own = layout.log("up")
    with own.open("a") as file:
        print(time.strftime("%Y-%m-%d %H:%M:%S"), task, file=file)
        traceback.print_exception(error, file=file)
    return CloudError(
        f"{task}: {type(error).__name__}: {error}",
        log=own,
        remedy=f"this should not happen: keep the log for a report, {AGAIN}",
    )
