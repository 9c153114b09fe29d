"""Opens a tap of the simulated host: the engine holds the other end of the guest's cable."""

import json
import os
import socket

from beastack.sim.bhyve import vmm
from beastack.sim.bhyve.errors import ERROR, Ended, device_failed

_SECONDS = 20.0


def open_tap(name: str) -> tuple[str, str]:
    """The two sockets of the cable, the guest's and the engine's; this process holds the tap until it ends."""
    failed = f"open of tap device /dev/{name} failed"
    folder = vmm.host_folder()
    if not vmm.has_engine():
        raise device_failed(failed, "No such file or directory")
    request = {"prog": "@tap-open", "argv": [name], "stdin": None, "pid": os.getpid()}
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_SECONDS)
            client.connect(f"/proc/self/fd/{descriptor}/engine.sock")
            client.sendall(json.dumps(request).encode() + b"\n")
            answer = b""
            while part := client.recv(65536):
                answer += part
        reply = json.loads(answer)
    except (OSError, ValueError) as error:
        raise device_failed(f"{failed} (the simulated host's engine: {error})", "Input/output error") from error
    finally:
        os.close(descriptor)
    if reply.get("rc"):
        raise Ended(ERROR, str(reply.get("err", "")))
    paths = json.loads(reply["out"])
    return str(paths["guest"]), str(paths["engine"])
