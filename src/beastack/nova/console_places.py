"""Where a guest's consoles are on the host, and how nova's proxies come to them.

On the host a console is a place that only root reaches: a port of the loop-back interface or a null-modem pair, and a
socket in a folder of root's. nova's proxies never see those: they get the address of the console service, one for all
guests, and a ticket for this guest (beastack.consoles.ticket). So no port that a proxy is told is ever used again for
another guest.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from nova.console import type as console_type

from beastack.consoles import conf, ticket
from beastack.freebsd import bhyve, bhyve_read
from beastack.freebsd.host import Host
from beastack.nova.ports import ConsolePorts
from beastack.nova.seam import Guest
from beastack.privsep import guest_conf, guest_files
from nova import exception


class ConsolePlaces:
    """Of all guests of the host."""

    def __init__(self, options: Any, instances: Path, host: Host) -> None:
        self._options = options
        conf.register(options)
        self._guests = guest_conf.register(options)
        self._instances = instances
        self._host = host
        self._can: bhyve.Capabilities | None = None
        self._ports = ConsolePorts(instances, guest_conf.console_ports(self._guests))

    def number(self, uuid: str) -> int:
        """The number of the guest's serial console, its own until it is deleted."""
        return self._ports.allocate(uuid)

    def onto(self, machine: bhyve.Machine, image: Any) -> bhyve.Machine:
        """The machine with its console and its screen at their places."""
        can = self._can = self._can or bhyve_read.capabilities(self._host)
        number = self.number(machine.uuid)
        console: bhyve.Console = (
            bhyve.TcpConsole(number) if can.tcp_console else bhyve.NmdmConsole(guest_conf.nmdm_device(number))
        )
        try:
            return replace(machine, console=console, frame_buffer=self._screen(machine.uuid, image, can))
        except bhyve.BadMachine as error:  # [beastack] screens_path is too long, say
            raise exception.BuildAbortException(instance_uuid=machine.uuid, reason=str(error)) from error

    def _screen(
        self, uuid: str, image: Any, can: bhyve.Capabilities
    ) -> bhyve.FrameBuffer | bhyve.SocketFrameBuffer | None:
        if not self._options.vnc.enabled or (image is not None and image.properties.get("hw_video_model") == "none"):
            self._ports.release(uuid, "screen")
            return None
        if can.socket_frame_buffer:
            return bhyve.SocketFrameBuffer(str(guest_conf.screen_socket(self._guests, uuid)))
        return bhyve.FrameBuffer(self._ports.allocate(uuid, "screen"))

    def release(self, uuid: str) -> None:
        """The guest is gone; its numbers are free."""
        self._ports.release(uuid)
        self._ports.release(uuid, "screen")

    def serial(self, guest: Guest) -> Any:
        """For nova-serialproxy."""
        uuid = self._running(guest)
        return console_type.ConsoleSerial(*self._way("serial", uuid))

    def screen(self, guest: Guest) -> Any:
        """For nova-novncproxy."""
        uuid = self._running(guest)
        if not (self._instances / uuid / guest_files.SCREEN).exists():
            raise exception.ConsoleTypeUnavailable(console_type="vnc")
        return console_type.ConsoleVNC(*self._way("vnc", uuid))

    @staticmethod
    def _running(guest: Guest) -> str:
        if not guest.is_defined():
            raise exception.InstanceNotFound(instance_id=guest.uuid)
        if not guest.runs():
            raise exception.InstanceNotReady(instance_id=guest.uuid)
        return guest.uuid

    def _way(self, kind: ticket.Kind, uuid: str) -> tuple[str, int, str]:
        group = self._options[conf.GROUP]
        key = ticket.host_key(conf.ticket_key(group, self._instances))
        until = int(time.time()) + int(self._options.consoleauth.token_ttl)
        return group.console_address, group.console_port, ticket.issue(key, ticket.Ticket(kind, uuid, until))
