"""``up``, ``down``, ``status`` and the ways into a running cloud."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from beastack.cli.progress import for_this_terminal
from beastack.cloud.status import Status

Name = Annotated[str, typer.Option("--name", help="Which cloud of this machine; two names never meet.")]
RunDir = Annotated[
    Path | None, typer.Option("--run-dir", help="Where its data is kept. Default: /var/lib/beastack/NAME.")
]
EX_INTERRUPTED = 130


def up(
    description: Annotated[
        Path | None,
        typer.Argument(help="What the cloud is made of, such as clouds/two-node.toml. Default: one host."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Which cloud of this machine. Default: the description's, or main.")
    ] = None,
    run_dir: RunDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Bring a cloud up: OpenStack's control plane, a FreeBSD compute host, and a first guest on it.

    Needs root. What runs already stays as it is. Ends with the time of every step, the endpoints, and where the
    credentials are. On a failure everything that was started is ended again.
    """
    from beastack.cloud.api import Cloud
    from beastack.cloud.description import read

    out = Console()
    cluster = read(description) if description else None
    name = name or (cluster.name if cluster else "main")
    cloud = Cloud(name, run_dir, cluster)
    try:
        with for_this_terminal() as progress:
            outcome = cloud.up(progress)
    except KeyboardInterrupt:
        typer.echo("beastack: interrupted; what was started has been ended", err=True)
        raise typer.Exit(EX_INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(asdict(outcome), default=str, indent=2))
        return
    if not outcome.changed:
        out.print(f"Cloud {name!r} runs already; nothing was changed.")
    else:
        out.print("", timings(outcome.timings), "")
    for kind, endpoint in outcome.endpoints.items():
        out.print(f"{kind:10} {endpoint}", highlight=False)
    out.print(f"\nCredentials: {cloud.layout().credentials} (clouds.yaml, openrc)", highlight=False)
    if outcome.address:
        out.print(f"Server first has the address {outcome.address}. Reach it by", highlight=False)
        ssh = f"ssh -i {outcome.key} -o StrictHostKeyChecking=accept-new root@{outcome.address}"
        option = "" if name == "main" else f" --name {name}"
        for command in (f"ping {outcome.address}", ssh, f"./beastack console first{option}"):
            out.print(f"  {command}", highlight=False, soft_wrap=True)
    else:
        out.print("Server first is switched off: ./beastack openstack server start first", highlight=False)


def timings(rows: list[tuple[str, float, float]], width: int = 44) -> Table:
    """Every step with its time, and a bar for when it ran; rows are (step, began, seconds)."""
    table = Table("step", "seconds", "", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    whole = max((began + took for _, began, took in rows), default=0.0) or 1.0
    for step, began, took in rows:
        first = round(began / whole * width)
        last = max(first + 1, round((began + took) / whole * width))
        table.add_row(step, f"{took:.1f}", " " * first + "━" * (last - first))
    table.add_row("all", f"{whole:.1f}", "")
    return table


def down(
    name: Name = "main",
    run_dir: RunDir = None,
    keep_data: Annotated[
        bool, typer.Option("--keep-data", help="Keep databases, images and disks for the next up.")
    ] = False,
) -> None:
    """End a cloud and remove its processes, namespaces, interfaces and files."""
    from beastack.cloud.api import Cloud

    cloud = Cloud(name, run_dir)
    with for_this_terminal() as progress:
        cloud.down(progress, keep_data)
    typer.echo(f"Cloud {name!r} is down{'; its data is kept' if keep_data else ''}.")


def status(
    name: Name = "main",
    run_dir: RunDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show services, hosts, agents, instances and endpoints of a cloud."""
    from beastack.cloud.api import Cloud

    found = Cloud(name, run_dir).status()
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    out = Console()
    if not found.running:
        out.print(f"Cloud {name!r} is down; its data is in {found.run_dir}.", highlight=False)
        raise typer.Exit(3)
    show(found, out)


def show(found: Status, out: Console) -> None:
    """Print a cloud's state as one table a subject."""
    table = Table("service", "state", "pid", "restarts", "up, s", "MB", box=None, pad_edge=False)
    for s in found.services:
        table.add_row(s.name, _colored(s.state), str(s.pid or ""), str(s.restarts), f"{s.seconds:.0f}", _mb(s.memory))
    table.add_row("all", "", "", "", "", _mb(sum(s.memory for s in found.services)))
    out.print(table)
    table = Table("host", "address", "release", box=None, pad_edge=False)
    for host in found.hosts:
        table.add_row(host.name, host.address, host.release)
    out.print("", table)
    table = Table("agent", "host", "state", box=None, pad_edge=False)
    for agent in found.agents:
        table.add_row(agent.kind, agent.host, _colored(agent.state))
    out.print("", table)
    table = Table("instance", "state", "power", "addresses", "project", "host", box=None, pad_edge=False)
    for i in found.instances:
        table.add_row(i.name, _colored(i.state), i.power, " ".join(i.addresses), i.project, i.host)
    out.print("", table)
    table = Table("endpoint", "", box=None, pad_edge=False)
    for kind, endpoint in found.endpoints.items():
        table.add_row(kind, endpoint)
    out.print("", table)
    for words in found.unknown:
        out.print(f"[red]not known:[/red] {words}", highlight=False)


def _colored(state: str) -> str:
    color = (
        "green" if state in ("running", "up", "ACTIVE") else "red" if state in ("down", "ERROR", "failed") else "yellow"
    )
    return f"[{color}]{state}[/{color}]"


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f}"


def openstack(
    arguments: Annotated[list[str], typer.Argument(help="What to pass to the OpenStack CLI.")],
    name: Name = "main",
    run_dir: RunDir = None,
) -> None:
    """Run the OpenStack CLI with this cloud's credentials: beastack openstack service list."""
    from beastack.cloud.api import Cloud

    raise typer.Exit(Cloud(name, run_dir).openstack(arguments))


def host(
    host_name: Annotated[str, typer.Argument(metavar="HOST", help="The FreeBSD host, as status names it.")],
    command: Annotated[list[str], typer.Argument(help="The command, after --.")],
    name: Name = "main",
    run_dir: RunDir = None,
) -> None:
    """Run a command on a FreeBSD host of the cloud: beastack host fbsd1 -- ifconfig -a."""
    from beastack.cloud.api import Cloud

    # click hands the separator on where options are passed through
    argv = command[1:] if command[0] == "--" else command
    raise typer.Exit(Cloud(name, run_dir).host_exec(host_name, argv))


def console(
    server: Annotated[str, typer.Argument(help="The server's name or id.")], name: Name = "main", run_dir: RunDir = None
) -> None:
    """Attach to a server's serial console; Ctrl-] detaches."""
    from beastack.cloud.api import Cloud

    raise typer.Exit(Cloud(name, run_dir).console(server))


def logs(
    service: Annotated[str | None, typer.Argument(help="Whose log; without it the names are listed.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("-n", help="How many of the last lines.")] = 50,
    name: Name = "main",
    run_dir: RunDir = None,
) -> None:
    """Show a service's log, or list the logs."""
    from beastack.cloud.api import Cloud

    files = Cloud(name, run_dir).log_files()
    if service is None:
        for known, path in files.items():
            typer.echo(f"{known:28} {path}")
        return
    if service not in files:
        raise typer.BadParameter(f"no log of {service!r}; there are: {', '.join(files)}")
    argv = ["tail", "-n", str(lines), *(["-F"] if follow else []), str(files[service])]
    try:
        raise typer.Exit(subprocess.run(argv, check=False, env=dict(os.environ)).returncode)
    except KeyboardInterrupt:
        sys.exit(EX_INTERRUPTED)
