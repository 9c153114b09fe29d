"""The ``beastack`` program: its sub-commands and nothing else.

Each sub-command lives in its own module; what they need of the cloud is imported when they run, so that ``--help``
answers at once.
"""

import sys

import typer

from beastack.cli import cloud
from beastack.cli.diagnose import doctor
from beastack.cli.testing import test

app = typer.Typer(
    name="beastack",
    help="Unmodified upstream OpenStack on FreeBSD hosts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(cloud.up)
app.command()(cloud.down)
app.command()(cloud.status)
# options after the first word are the OpenStack CLI's or the command's own
_PASS = {"ignore_unknown_options": True, "allow_interspersed_args": False}
app.command(context_settings=_PASS)(cloud.openstack)
app.command(context_settings=_PASS)(cloud.host)
app.command()(cloud.console)
app.command()(cloud.logs)
app.command()(test)
app.command()(doctor)


def main() -> None:
    """Entry point of the launcher; a failure is one message and status 1."""
    # imported here: it is cheap, and everything else of the cloud is not
    from beastack.cloud.errors import CloudError

    try:
        app(prog_name="beastack")
    except CloudError as e:
        typer.echo(f"beastack: {e}", err=True)
        sys.exit(e.status)
    except KeyboardInterrupt:
        typer.echo("beastack: interrupted", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
