"""The ``gateway`` command: one sub-command a file in ``infra/commandline``, imported when it is called."""

import importlib
import importlib.metadata
from typing import Annotated, Any, Final, Protocol, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from infra.start import let_interrupts_raise

COMMANDS: Final = {
    "demo": "Run Kafka, registry, Redis, two simulated exchanges and the gateway in this one process.",
    "run": "Run a gateway against Kafka, the Schema Registry and Redis of the settings.",
    "services": "Start a real Kafka, Schema Registry and Redis here, print the addresses, stop them on Ctrl-C.",
    "connect": "Ask the gateway to stream SYMBOLs of EXCHANGE, and say what became of it.",
    "disconnect": "End SYMBOLs of a stream, or the whole stream, and say what became of it.",
    "tail": "Show messages decoded, one a line, until Ctrl-C; nothing is committed and no consumer disturbed.",
    "streams": "List every stream: its symbols, as ws.streams says, and its owner and state, as Redis says.",
    "verify": "Prove from the topics that no record was lost, doubled or reordered.",
    "simulate": "Run simulated exchanges on this machine until Ctrl-C; prints their URLs and how to use them.",
    "replay": "Run recorded frames through the session: what they become, and what could not be read.",
    "schemas": "Check, release and register the schemas; see what the registry has; export code for consumers.",
    "doctor": "Look at everything a gateway needs, change nothing, and say what is wrong and what to do.",
}
"""Each command is the module of its name; what is said of it here is the first sentence of its own help."""


class _Module(Protocol):
    def register(self, app: typer.Typer) -> None: ...


class _Commands(TyperGroup):
    """Lists the commands by the table, and imports the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """As it is listed: its name and what it is for."""
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, listed, rest = super().resolve_command(ctx, args)
        if listed is None or name is None:
            return name, listed, rest
        return name, load(name), rest


def load(name: str) -> Any:
    """The command itself, from its module; from here on Ctrl-C is its own affair."""
    module = cast(_Module, importlib.import_module(f"infra.commandline.{name}"))
    holder = typer.Typer(pretty_exceptions_enable=False)
    module.register(holder)
    command = get_group(holder).commands[name]
    for one in (command, *getattr(command, "commands", {}).values()):
        one.help = _flowing(one.help or "")
    let_interrupts_raise()
    return command


def _flowing(text: str) -> str:
    """A docstring's paragraphs without the ends of its lines, which would stand in the midst of sentences."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


app = typer.Typer(
    name="gateway",
    cls=_Commands,
    help="Crypto-exchange WebSockets into Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"gateway {importlib.metadata.version('streamgateway')}")
        raise typer.Exit


@app.callback()
def _gateway(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Crypto-exchange WebSockets into Kafka."""


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
