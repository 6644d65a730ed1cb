"""The ``gateway`` command: one sub-command a file in ``infra/commandline``."""

import typer

app = typer.Typer(
    name="gateway",
    help="Crypto-exchange WebSockets into Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """Run the command line."""
    app()
