"""``beastack doctor``: what this machine can and cannot do, and what to do about it."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from beastack.cloud.doctor import examine

SIGNS = {"ok": "[green]ok[/green]", "warn": "[yellow]warn[/yellow]", "fail": "[red]fail[/red]"}


def doctor(
    run_dir: Annotated[Path, typer.Option(help="Where the cloud would keep its data.")] = Path("/var/lib/beastack"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at this machine: can it run a cloud, and if not, what to do.

    Changes nothing. Exit status 1 when something would stop `up`.
    """
    findings = examine(run_dir)
    if as_json:
        typer.echo(json.dumps([f.as_dict() for f in findings], indent=2))
    else:
        table = Table(box=None, pad_edge=False)
        for title in ("", "what", "found", "what to do"):
            table.add_column(title, overflow="fold")
        for f in findings:
            table.add_row(SIGNS[f.level], f.subject, f.detail, f.remedy)
        Console().print(table)
    if any(f.level == "fail" for f in findings):
        raise typer.Exit(1)
