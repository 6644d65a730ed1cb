"""The ``gateway`` command: one sub-command a file in ``infra/commandline``."""

import typer

from infra.commandline import (
    connect,
    demo,
    disconnect,
    doctor,
    replay,
    run,
    schemas,
    services,
    simulate,
    streams,
    tail,
    verify,
)

app = typer.Typer(
    name="gateway",
    help="Crypto-exchange WebSockets into Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _gateway() -> None:
    """Crypto-exchange WebSockets into Kafka."""


for command in (
    demo,
    run,
    services,
    connect,
    disconnect,
    tail,
    streams,
    verify,
    simulate,
    replay,
    schemas,
    doctor,
):
    command.register(app)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
