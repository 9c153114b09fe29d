"""Talking to a cloud's supervisor over its control socket: one JSON line there, one back."""

import json
import socket
from pathlib import Path
from typing import Any

from beastack.cloud.errors import CloudError


class SupervisorGone(CloudError):
    """Nobody answers on the control socket."""


def ask(run_dir: Path, request: dict[str, Any], limit: float = 30.0) -> dict[str, Any]:
    """Send one request; raises SupervisorGone, or CloudError with the supervisor's words."""
    path = run_dir / "run" / "supervisor.sock"
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(limit)
            channel.connect(str(path))
            channel.sendall(json.dumps(request).encode() + b"\n")
            with channel.makefile("rb") as lines:
                line = lines.readline()
    except TimeoutError as e:
        raise CloudError(
            f"the supervisor did not answer {request.get('do')!r} within {limit:.0f} s",
            log=run_dir / "log" / "supervisor.log",
        ) from e
    except (FileNotFoundError, ConnectionError) as e:
        raise SupervisorGone(f"no supervisor answers on {path}", remedy="./beastack up") from e
    if not line:
        raise SupervisorGone("the supervisor ended while it was asked", log=run_dir / "log" / "supervisor.log")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise CloudError(str(answer["error"]), log=run_dir / "log" / "supervisor.log")
    return answer
