"""The ``beastack`` program: its sub-commands and nothing else.

Each sub-command lives in its own module; what they need of the cloud is imported when they run, so that ``--help``
answers at once.
"""

import typer

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
app.command()(test)
app.command()(doctor)


def main() -> None:
    """Entry point of the launcher."""
    app(prog_name="beastack")


if __name__ == "__main__":
    main()
