"""What bhyve asks the engine of its simulated host for: a tap, a device of the host."""

import json
import os
import socket
from typing import Any

from beastack.sim.bhyve import vmm
from beastack.sim.bhyve.errors import device_failed

_SECONDS = 20.0


def ask(program: str, argv: list[str], failed: str) -> dict[str, Any]:
    """The engine's reply; the end of bhyve with the words ``failed`` when it has none."""
    request = {"prog": program, "argv": argv, "stdin": None, "pid": os.getpid()}
    descriptor = os.open(vmm.host_folder(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_SECONDS)
            client.connect(f"/proc/self/fd/{descriptor}/engine.sock")
            client.sendall(json.dumps(request).encode() + b"\n")
            answer = b""
            while part := client.recv(65536):
                answer += part
        reply: dict[str, Any] = json.loads(answer)
    except (OSError, ValueError) as error:
        raise device_failed(f"{failed} (the simulated host's engine: {error})", "Input/output error") from error
    finally:
        os.close(descriptor)
    return reply
