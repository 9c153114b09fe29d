"""Owns the engine's socket: reads a request, finds out who asks, lets the program answer, writes the reply."""

import asyncio
import contextlib
import inspect
import json
import os
import socket
import struct
import sys
import traceback
from pathlib import Path

from beastack.sim.engine.state import State
from beastack.sim.net.errors import Failed
from beastack.sim.programs.base import Reply, Request
from beastack.sim.programs.registry import PROGRAMS

REQUEST_LIMIT = 64 << 20
READ_TIMEOUT = 10.0


def listen(directory: str) -> socket.socket:
    """The engine's socket in the host's folder; the detour over /proc keeps long folder names within 108 bytes."""
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path = f"/proc/self/fd/{folder}/engine.sock"
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        mask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
        sock.listen(256)
        return sock
    finally:
        os.close(folder)


class Server:
    def __init__(self, state: State) -> None:
        self._state = state

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), READ_TIMEOUT)
            if not line:
                return
            reply = await self._answer_or_gone(line, reader, writer)
            if reply is not None:
                writer.write(json.dumps(reply).encode() + b"\n")
                await asyncio.wait_for(writer.drain(), READ_TIMEOUT)
        except (TimeoutError, ConnectionError, ValueError, asyncio.LimitOverrunError) as error:
            print(f"request lost: {error!r}", file=sys.stderr, flush=True)
        finally:
            writer.close()

    async def _answer_or_gone(
        self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> dict[str, object] | None:
        """An answer that waits (a tap that is held open) is given up when its caller has gone."""
        answer = asyncio.ensure_future(self._answer(line, writer))
        gone = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not answer.done():
            answer.cancel()
            return None
        return answer.result()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> dict[str, object]:
        message = json.loads(line)
        program, argv = str(message["prog"]), [str(argument) for argument in message["argv"]]
        peer = writer.get_extra_info("socket")
        pid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        handler = PROGRAMS.get(program)
        if handler is None:
            return _encode(Reply(err=f"{program}: not simulated\n", rc=127))
        try:
            request = Request(
                state=self._state,
                program=program,
                argv=argv,
                stdin=str(message.get("stdin") or ""),
                # only a request for a tap may name another process: the one that will hold it
                pid=int(message.get("pid") or pid) if program == "@tap-open" else pid,
                vnet=self._state.vnet_of(pid),
                jail=self._state.jail_of(pid),
                files={str(name): str(text) for name, text in (message.get("files") or {}).items()},
            )
            result = handler(request)
            reply = await result if inspect.isawaitable(result) else result
        except Failed as failure:
            reply = Reply(failure.out, failure.text.rstrip("\n") + "\n", failure.status)
        except Exception as error:  # noqa: BLE001 - PID 1 must outlive a program's mistake; the caller is told
            traceback.print_exc()
            sys.stderr.flush()
            reply = Reply(err=f"{program}: simulator error: {error!r}; see engine.log\n", rc=70)
        return _encode(reply)


def _encode(reply: Reply) -> dict[str, object]:
    if reply.exec is not None:
        return {"exec": reply.exec}
    return {"out": reply.out, "err": reply.err, "rc": reply.rc}


async def serve(state: State, sock: socket.socket) -> asyncio.Server:
    server = Server(state)
    return await asyncio.start_unix_server(server.handle, sock=sock, limit=REQUEST_LIMIT)
